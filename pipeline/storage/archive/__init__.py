"""The archive: a plain ``.tar.gz`` or ``.tar.zst``, written at the speed of copying and read in place.

Writing. ``ArchiveLayout`` says what goes in; ``write_archive`` writes it in one pass, re-hashing every file, and leaves synced
volumes under temporary names; ``volume_names`` says what to rename them to. It leaves all or nothing.

Reading. ``open_archive`` gives an ``ArchiveReader`` of a file or a set of volumes, which reads metadata and blobs by digest,
verified, without unpacking anything. It holds the files open, so that one that is replaced is read on. Nothing that an archive
says is believed: whatever it claims, reading takes little memory and ends.

The idea: gzip members and zstd frames may be put one after another. Each blob has its own; one that is compressed already
is stored, not compressed again; an index of them is the last file in the tar, and the last bytes say where that lies. For
every other program it is a tar. Surprises: the index does not know the volumes (joined with ``cat`` they are, bit by bit, the
archive that was not cut); levels above the default may take more than 100 MB of memory with zstd.

    members         what goes in, in order
    writer          members → pieces                        volume_reader   finding and checking volumes
    encoding        store it or compress it                 opened_files    files that stay the same
    source_file     files that may be damaged               reader          metadata and blobs by digest
    conveyor        the threads                             audit           the tar around them
    volume_writer   bytes → hashed, synced files
                                                            tar_reader      tar headers of any program
    framing         what gzip and zstd have in common       tar_header      tar headers, written
    gzip_codec      gzip members                            decoding        what other programs compressed
    zstd_codec      zstd frames                             index           where everything lies
"""

from pipeline.storage.archive.framing import Codec
from pipeline.storage.archive.members import ArchiveLayout, Member
from pipeline.storage.archive.reader import ArchiveReader, open_archive
from pipeline.storage.archive.volume_reader import ForeignArchiveError
from pipeline.storage.archive.volume_writer import MAX_VOLUMES, Volume, temporary_files, volume_names, volumes_beside
from pipeline.storage.archive.writer import write_archive

__all__ = [
    "MAX_VOLUMES",
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
