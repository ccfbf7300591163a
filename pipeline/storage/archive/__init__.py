"""The archive: a plain ``.tar.gz`` or ``.tar.zst``, written at the speed of copying and read in place.

Writing. ``ArchiveLayout`` says what goes in; ``write_archive`` writes it in one pass, re-hashing every file, and leaves synced
volumes under temporary names; ``volume_names`` says what to rename them to. It leaves all or nothing.

Reading. ``open_archive`` gives an ``ArchiveReader`` of a file, a set of volumes or a folder, which reads metadata and blobs by
digest, verified, without unpacking anything.

The idea: gzip members and zstd frames may be put one after another. Each blob has its own; one that is compressed already
is stored, not compressed again; an index of them is the last file in the tar, and the last bytes say where that lies. For
every other program it is a tar. Surprises: the index does not know the volumes (joined with ``cat`` they are, bit by bit, the
archive that was not cut); levels above the default may take more than 100 MB of memory with zstd.

    layout          what goes in, in order                  framing         what gzip and zstd have in common
    writer          members → pieces                        gzip_codec      gzip members
    encoding        store it or compress it                 zstd_codec      zstd frames
    source          files that may be damaged               archive_index   where everything lies
    conveyor        the threads                             volume_set      finding and checking volumes
    volumes         bytes → hashed, synced files            reader          metadata and blobs by digest
    tar_format      tar headers
"""

from pipeline.storage.archive.framing import Codec
from pipeline.storage.archive.members import ArchiveLayout, Member
from pipeline.storage.archive.reader import ArchiveReader, open_archive
from pipeline.storage.archive.volume_reader import ForeignArchiveError
from pipeline.storage.archive.volume_writer import Volume, temporary_files, volume_names, volumes_beside
from pipeline.storage.archive.writer import write_archive

__all__ = [
    "ArchiveLayout",
    "ArchiveReader",
    "Codec",
    "ForeignArchiveError",
    "Member",
    "Volume",
    "open_archive",
    "temporary_files",
    "volume_names",
    "volumes_beside",
    "write_archive",
]
