"""Signatures by ``ssh-keygen -Y``: a text is signed with an SSH key, and its signer is one of a list.

Each kind of text has a namespace of its own, so that a signature of one is none of another.

Source: ssh-keygen(1), "-Y sign", "-Y find-principals", "-Y verify", "ALLOWED SIGNERS"; PROTOCOL.sshsig.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pipeline.core import files, process
from pipeline.core.errors import ArchiveError, EnvironmentProblem

SLIP = "image-tools-slip"
RECEIPT = "image-tools-receipt"
SUFFIX = ".sig"
MAX_SIZE = 16 << 20
"""Bytes of what is signed, or of a signature."""
TIMEOUT = 120.0
"""Seconds for ssh-keygen: an agent may ask somebody."""


def sign(data: bytes, key: Path, namespace: str) -> bytes:
    """The signature of ``data``, checked. Raises EnvironmentProblem.

    ``key`` may be a public key whose private half is in an agent.
    """
    done = _run("-Y", "sign", "-f", str(key), "-n", namespace, stdin=data)
    signature = done.out
    if done.code or not signature.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        tip = "a key with a passphrase is used through ssh-agent: give its .pub file"
        raise EnvironmentProblem(f"ssh-keygen could not sign with {key}: {_said(done)}", tip=tip)
    with tempfile.TemporaryDirectory(prefix="image-tools-") as folder:
        signed = Path(folder) / "signature"
        signed.write_bytes(signature)
        checked = _run("-Y", "check-novalidate", "-n", namespace, "-s", str(signed), stdin=data)
    if checked.code:
        raise EnvironmentProblem(f"ssh-keygen does not confirm what it signed with {key}: {_said(checked)}")
    return signature


def signer(path: Path, data: bytes, signature: bytes, allowed: Path, namespace: str) -> str:
    """Who signed ``data``, which was read from ``path``. Raises ArchiveError for nobody who is allowed."""
    with tempfile.TemporaryDirectory(prefix="image-tools-") as folder:
        signed = Path(folder) / "signature"
        signed.write_bytes(signature)
        found = _run("-Y", "find-principals", "-s", str(signed), "-f", str(allowed))
        names = found.out.decode(errors="replace").split("\n")[0].strip()
        if found.code or not names:
            raise ArchiveError(f"{path}: its signer is not in {allowed}")
        if set("*?!") & set(names):
            raise ArchiveError(f"{allowed}: '{names}' stands for anybody", tip="name the signers, each with its key")
        name = names.split(",")[0]
        done = _run(
            *("-Y", "verify", "-f", str(allowed), "-I", name, "-n", namespace, "-s", str(signed)),
            stdin=data,
        )
    if done.code:
        raise ArchiveError(f"{path} was changed after it was signed, or its key may not sign this: {_said(done)}")
    return name


def read(path: Path) -> bytes:
    """What is signed, or a signature. Raises ArchiveError."""
    try:
        data = files.read_bounded(path, MAX_SIZE)
    except FileNotFoundError as error:
        raise ArchiveError(f"{path} is missing, and a signature is demanded", tip="carry it with what it signs") from error
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path} cannot be read: {error}") from error
    if data is None:
        raise ArchiveError(f"{path} is larger than anything that is signed")
    return data


def _run(*arguments: str, stdin: bytes = b"") -> process.Finished:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise EnvironmentProblem("ssh-keygen is not installed, and signatures need it", tip="install openssh-client")
    try:
        return process.run([program, *arguments], timeout=TIMEOUT, stdin=stdin)
    except (OSError, TimeoutError) as error:
        raise EnvironmentProblem(f"ssh-keygen did not finish: {error}") from error


def _said(done: process.Finished) -> str:
    return " ".join((done.err or done.out).decode(errors="replace").split())[:300]
