"""The slip beside an archive: what it is, signed with an SSH key (``ssh_signature``).

The slip (``NAME.slip.json``) names the whole stream of bytes and the archive index by SHA-256, so that it stays valid when the
archive is cut into other volumes, joined or repaired. Its signature (``NAME.slip.json.sig``) has a namespace of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core import bounded_json, files
from pipeline.core.errors import ArchiveError
from pipeline.core.interruption import Interruption
from pipeline.storage import ssh_signature
from pipeline.storage.archive import ArchiveReader
from pipeline.storage.parity import base_of

SUFFIX = ".slip.json"
SIGNATURE_SUFFIX = ".slip.json.sig"


def files_beside(archive: Path) -> list[Path]:
    """The slip of an archive (without the number of a volume) and its signature, if they are there."""
    return [path for path in _places(archive) if path.is_file()]


def copy(source: Path, target: Path) -> None:
    """The slip of one archive beside another that has the same bytes."""
    for suffix in (SUFFIX, SIGNATURE_SUFFIX):
        path = source.with_name(source.name + suffix)
        if path.is_file() and (data := files.read_bounded(path, ssh_signature.MAX_SIZE)) is not None:
            files.write_atomic(target.with_name(target.name + suffix), data)


def measure(reader: ArchiveReader, interruption: Interruption) -> dict[str, Any]:
    """The stream and the volumes of an archive as a slip names them; everything is read."""
    stream, volumes = hashlib.sha256(), []
    for number, (path, size) in enumerate(zip(reader.volumes.paths, reader.volumes.sizes, strict=True)):
        hasher = hashlib.sha256()
        for offset in range(0, size, files.CHUNK):
            interruption.check()
            chunk = reader.volumes.read_volume(number, offset, min(files.CHUNK, size - offset))
            hasher.update(chunk)
            stream.update(chunk)
        volumes.append({"name": path.name, "size": size, "sha256": hasher.hexdigest()})
    return {
        "stream": {"size": reader.volumes.size, "sha256": stream.hexdigest()},
        "index": {"sha256": reader.trailer.sha256.hex()},
        "volumes": volumes,
    }


def write(archive: Path, document: Mapping[str, Any], key: Path) -> tuple[Path, Path]:
    """Sign ``document`` and put both files beside ``archive``, over what lies there. Raises EnvironmentProblem.

    ``key`` may be a public key whose private half is in an agent.
    """
    data = (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
    signature = ssh_signature.sign(data, key, ssh_signature.SLIP)
    slip, signed = _places(archive)
    signed.unlink(missing_ok=True)
    files.write_atomic(slip, data)
    files.write_atomic(signed, signature)
    return slip, signed


def verify(source: Path, reader: ArchiveReader, allowed: Path, interruption: Interruption) -> dict[str, Any]:
    """The slip of the archive that ``reader`` has open, once it is proved: signed by one of ``allowed``, and all bytes hashed.

    ``signer`` is added to it. Raises ArchiveError for a slip that is missing, changed, of another archive or of nobody who is
    allowed; EnvironmentProblem where ssh-keygen is missing.
    """
    archive = base_of(source)
    slip, signed = _places(archive)
    data, signature = ssh_signature.read(slip), ssh_signature.read(signed)
    signer = ssh_signature.signer(slip, data, signature, allowed, ssh_signature.SLIP)
    try:
        document = bounded_json.loads(data)
        index, stream = document["index"]["sha256"], document["stream"]
        size, sha256 = stream["size"], stream["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"{slip} is signed, and no slip of this program") from error
    other = ArchiveError(f"{slip} is of another archive", tip="carry archive and slip together, as they were made")
    if (index, size) != (reader.trailer.sha256.hex(), reader.volumes.size):
        raise other
    if measure(reader, interruption)["stream"]["sha256"] != sha256:
        raise other
    return {**document, "signer": signer}


def _places(archive: Path) -> tuple[Path, Path]:
    return archive.with_name(archive.name + SUFFIX), archive.with_name(archive.name + SIGNATURE_SUFFIX)
