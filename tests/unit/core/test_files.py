"""Writing, reading and locking with care."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.core import files
from pipeline.core.errors import ContentError
from pipeline.core.oci import Digest
from tests.support.run import ROOT


def listing(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# Writing


def test_a_file_is_written_with_its_folders(work: Path) -> None:
    place = work / "a/b/c.json"
    files.write_atomic(place, b"one")
    files.write_atomic(place, b"two", durable=False)
    assert place.read_bytes() == b"two"
    assert listing(place.parent) == ["c.json"]


@pytest.fixture
def work(clean_environment: Path) -> Path:
    return clean_environment


def test_an_error_leaves_nothing_and_the_old_file_alone(work: Path) -> None:
    place = work / "file"
    place.write_bytes(b"old")
    with pytest.raises(TypeError):
        files.write_atomic(place, "text")  # type: ignore[arg-type]
    assert listing(work) == ["file"]
    assert place.read_bytes() == b"old"


def test_a_place_that_cannot_be_taken_leaves_nothing(work: Path) -> None:
    (work / "folder/below").mkdir(parents=True)
    for durable in (True, False):
        with pytest.raises(OSError, match="folder"):
            files.write_atomic(work / "folder", b"data", durable)
    assert listing(work) == ["folder"]


def test_a_full_disk_leaves_nothing(work: Path) -> None:
    """A limit on the size of files stands in for it: the kernel refuses in the middle of the write."""
    script = """
import resource, signal, sys
from pathlib import Path
from pipeline.core.files import write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path("file"), b"x" * 100_000)
except OSError as error:
    print(error.errno)
"""
    (work / "file").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "27\n", done.stderr
    assert listing(work) == ["file"]
    assert (work / "file").read_bytes() == b"old"


def test_a_killed_writer_leaves_the_old_file_and_junk_that_is_known_by_name(work: Path) -> None:
    script = """
import os
from pathlib import Path
from pipeline.core import files
files.os.fsync = lambda fd: os.kill(os.getpid(), 9)
files.write_atomic(Path("file"), b"new")
"""
    (work / "file").write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    junk, name = listing(work)
    assert name == "file"
    assert junk.startswith(files.TEMPORARY)
    assert (work / "file").read_bytes() == b"old"


def test_many_threads_may_write_one_file(work: Path) -> None:
    place = work / "share" / "blob"
    contents = [bytes([number]) * 50_000 for number in range(16)]
    errors: list[BaseException] = []

    def write(data: bytes) -> None:
        try:
            for _ in range(5):
                files.write_atomic(place, data, durable=False)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[data]) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert place.read_bytes() in contents
    assert listing(place.parent) == ["blob"]


@pytest.mark.parametrize("name", ["a" * 250, "é" * 125, "漢" * 84, ".part0"])
def test_a_name_as_long_as_a_file_system_takes(work: Path, name: str) -> None:
    files.write_atomic(work / name, b"data")
    temporary = files.temporary_beside(work / name)
    temporary.touch()
    assert temporary.name.startswith(files.TEMPORARY)
    assert temporary.parent == work
    assert temporary not in work.glob(f"{name[:100]}*")


def test_what_has_not_changed_is_left_alone(work: Path) -> None:
    place = work / "file"
    assert files.write_if_changed(place, b"one")
    before = place.stat()
    assert not files.write_if_changed(place, b"one")
    assert (place.stat().st_mtime_ns, place.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert files.write_if_changed(place, b"two")
    assert place.read_bytes() == b"two"


def test_json_is_stable_and_readable() -> None:
    assert files.dump_json({"b": 1, "a": ["é"]}) == '{\n "b": 1,\n "a": [\n  "é"\n ]\n}\n'.encode()


def test_damaged_records_read_as_none(work: Path) -> None:
    for data in (b"", b"{", b"\xff", b"\x00" * 100):
        (work / "record").write_bytes(data)
        assert files.read_json(work / "record") is None
    assert files.read_json(work / "missing") is None
    assert files.read_json(work) is None
    (work / "record").write_bytes(files.dump_json([1]))
    assert files.read_json(work / "record") == [1]


# Reading


def test_a_verified_read_checks_digest_and_size(work: Path) -> None:
    place = work / "blob"
    place.write_bytes(b"12345")
    digest = Digest.of(b"12345")
    assert files.read_verified(place, digest, 5) == b"12345"
    assert files.read_verified(place, Digest.of(b"12345", "sha512"), 100) == b"12345"
    with pytest.raises(ContentError, match="larger than 4 bytes"):
        files.read_verified(place, digest, 4)
    for data in (b"12346", b"1234", b"", b"123456"):
        place.write_bytes(data)
        with pytest.raises(ContentError, match="does not match its digest"):
            files.read_verified(place, digest, 100)
    with pytest.raises(FileNotFoundError):
        files.read_verified(work / "missing", digest, 100)


def test_a_huge_file_is_not_read_to_find_that_it_is_huge(work: Path) -> None:
    place = work / "blob"
    with place.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ContentError, match="larger than"):
        files.read_verified(place, Digest.of(b""), 1000)


def test_a_hash_of_what_is_left() -> None:
    data = b"x" * (files.CHUNK + 1)
    file = io.BytesIO(b"head" + data)
    file.seek(4)
    assert files.hash_file(file) == (hashlib.sha256(data).hexdigest(), len(data))
    assert files.hash_file(file) == (hashlib.sha256().hexdigest(), 0)


# Removing, places


def test_removing_never_follows_a_link(work: Path) -> None:
    (work / "kept").mkdir()
    (work / "kept/file").touch()
    (work / "folder/deep").mkdir(parents=True)
    (work / "folder/link").symlink_to(work / "kept")
    (work / "link").symlink_to(work / "kept")
    (work / "dangling").symlink_to("nowhere")
    (work / "file").touch()
    for name in ("folder", "link", "dangling", "file", "missing"):
        files.remove(work / name)
    assert listing(work) == ["kept"]
    assert listing(work / "kept") == ["file"]


def test_one_file_by_two_names(work: Path) -> None:
    (work / "file").touch()
    (work / "link").symlink_to("file")
    assert files.same_file(work / "file", work / "link")
    assert files.same_file(work / "new", work / "x/../new")
    assert not files.same_file(work / "file", work / "new")


def test_a_folder_is_removed_while_somebody_still_writes_into_it(tmp_path: Path) -> None:
    folder, ends = tmp_path / "folder", threading.Event()
    folder.mkdir()

    def write() -> None:
        for number in range(3_000):
            if ends.wait(0.0001):
                return
            with contextlib.suppress(OSError):
                (folder / str(number)).touch()

    writer = threading.Thread(target=write)
    writer.start()
    threading.Timer(0.2, ends.set).start()
    files.remove(folder)
    writer.join()
    assert not folder.exists()


def test_a_new_file_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_new(path, b"x" * 3_000_000)
    with pytest.raises(FileExistsError):
        files.write_new(path, b"y")
    assert files.read_small(path) == b"x" * 3_000_000
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()


@pytest.mark.parametrize(("limit", "expected"), [(9, 10), (10, 10), (11, 10), (0, 1), (3, 4)])
def test_of_a_larger_file_a_byte_more_is_read(tmp_path: Path, limit: int, expected: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert files.read_small(path, limit) == b"0123456789"[:expected]


def test_json_from_a_pipe(tmp_path: Path) -> None:
    """A login may come so: ``-authfile <(vault ...)``."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    document = {"auths": {"registry.example.com": {"auth": "x" * 100_000}}}
    writer = threading.Thread(target=lambda: path.write_text(json.dumps(document)))
    writer.start()
    assert files.read_json(path) == document
    writer.join()


def umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value
