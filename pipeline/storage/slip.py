"""The slip beside an archive: what it is, signed with an SSH key by ``ssh-keygen -Y``. No cryptography of our own.

The slip (``NAME.slip.json``) names the whole stream of bytes and the archive index by SHA-256, so that it stays valid when the
archive is cut into other volumes, joined or repaired. Its signature (``NAME.slip.json.sig``) has a namespace of its own.

Source: ssh-keygen(1), "-Y sign", "-Y find-principals", "-Y verify", "ALLOWED SIGNERS"; PROTOCOL.sshsig.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core import bounded_json, files, process
from pipeline.core.errors import ArchiveError, EnvironmentProblem
from pipeline.core.interruption import Interruption
from pipeline.storage.archive import ArchiveReader
from pipeline.storage.parity import base_of

NAMESPACE = "image-tools-slip"
SUFFIX = ".slip.json"
SIGNATURE_SUFFIX = ".slip.json.sig"
MAX_SIZE = 16 << 20
"""Bytes of a slip: 10,000 volumes with the longest names need a fifth of it."""
TIMEOUT = 120.0
"""Seconds for ssh-keygen: an agent may ask somebody."""


def files_beside(archive: Path) -> list[Path]:
    """The slip of an archive (without the number of a volume) and its signature, if they are there."""
    return [path for path in _places(archive) if path.is_file()]


def copy(source: Path, target: Path) -> None:
    """The slip of one archive beside another that has the same bytes."""
    for suffix in (SUFFIX, SIGNATURE_SUFFIX):
        path = source.with_name(source.name + suffix)
        if path.is_file() and (data := files.read_bounded(path, MAX_SIZE)) is not None:
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
    done = _run("-Y", "sign", "-f", str(key), "-n", NAMESPACE, stdin=data)
    signature = done.out
    if done.code or not signature.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        tip = "a key with a passphrase is used through ssh-agent: give its .pub file"
        raise EnvironmentProblem(f"ssh-keygen could not sign with {key}: {_said(done)}", tip=tip)
    with tempfile.TemporaryDirectory(prefix="image-tools-") as folder:
        checked = _check_novalidate(data, signature, Path(folder))
    if checked.code:
        raise EnvironmentProblem(f"ssh-keygen does not confirm what it signed with {key}: {_said(checked)}")
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
    data, signature = _read(slip), _read(signed)
    signer = _signer(slip, data, signature, allowed)
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


def _signer(slip: Path, data: bytes, signature: bytes, allowed: Path) -> str:
    """Who signed. Raises ArchiveError."""
    with tempfile.TemporaryDirectory(prefix="image-tools-") as folder:
        signed = Path(folder) / "signature"
        signed.write_bytes(signature)
        found = _run("-Y", "find-principals", "-s", str(signed), "-f", str(allowed))
        names = found.out.decode(errors="replace").split("\n")[0].strip()
        if found.code or not names:
            raise ArchiveError(f"{slip}: its signer is not in {allowed}")
        if set("*?!") & set(names):
            raise ArchiveError(f"{allowed}: '{names}' stands for anybody", tip="name the signers, each with its key")
        signer = names.split(",")[0]
        done = _run(
            *("-Y", "verify", "-f", str(allowed), "-I", signer, "-n", NAMESPACE, "-s", str(signed)),
            stdin=data,
        )
    if done.code:
        raise ArchiveError(f"{slip} was changed after it was signed, or its key may not sign slips: {_said(done)}")
    return signer


def _check_novalidate(data: bytes, signature: bytes, folder: Path) -> process.Finished:
    signed = folder / "signature"
    signed.write_bytes(signature)
    return _run("-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signed), stdin=data)


def _read(path: Path) -> bytes:
    try:
        data = files.read_bounded(path, MAX_SIZE)
    except FileNotFoundError as error:
        raise ArchiveError(f"{path} is missing, and a slip is demanded", tip="carry it with the archive") from error
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path} cannot be read: {error}") from error
    if data is None:
        raise ArchiveError(f"{path} is larger than any slip")
    return data


def _places(archive: Path) -> tuple[Path, Path]:
    return archive.with_name(archive.name + SUFFIX), archive.with_name(archive.name + SIGNATURE_SUFFIX)


def _run(*arguments: str, stdin: bytes = b"") -> process.Finished:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise EnvironmentProblem("ssh-keygen is not installed, and slips need it", tip="install openssh-client")
    try:
        return process.run([program, *arguments], timeout=TIMEOUT, stdin=stdin)
    except (OSError, TimeoutError) as error:
        raise EnvironmentProblem(f"ssh-keygen did not finish: {error}") from error


def _said(done: process.Finished) -> str:
    return " ".join((done.err or done.out).decode(errors="replace").split())[:300]
