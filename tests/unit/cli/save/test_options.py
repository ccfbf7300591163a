"""The flags of ``save`` become an order: defaults, forms, warnings, and every mistake found before anything is done."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.cli import go_flags
from pipeline.cli.save.options import GROUPS, SAVE_FLAGS, SaveOptions, read
from pipeline.config.flag import in_flags
from pipeline.core.amounts import parse_size
from pipeline.core.bundle import Access, Architecture, Bundle, Compression, Output, parse_platforms
from pipeline.core.errors import EXIT_USAGE, InputError, UsageError
from pipeline.core.log import log
from pipeline.core.oci import Platform
from pipeline.storage.bundle_state import IMAGES_LIST
from pipeline.storage.image_layout import LAYOUT_FILE

K, M, G, T = 1024, 1024**2, 1024**3, 1024**4


class Heard(logging.Handler):
    """The warnings of one test."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    handler = Heard()
    monkeypatch.setattr(log, "handlers", [handler])
    monkeypatch.setattr(log, "propagate", False)
    return handler


@pytest.fixture(autouse=True)
def work(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a list of one image in it. Standard input is empty."""
    (clean_environment / "list.txt").write_text("nginx\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    return clean_environment


def order(*arguments: str, f: str | None = "list.txt") -> SaveOptions:
    try:
        return read(go_flags.parse(SAVE_FLAGS, [*(["-f", f] if f is not None else []), *arguments], "save").given)
    except UsageError as error:
        raise in_flags(error, SAVE_FLAGS) from error


def bundle(*arguments: str) -> Bundle:
    (made,) = order(*arguments).bundles
    return made


def refusal(*arguments: str) -> str:
    with pytest.raises((UsageError, InputError)) as caught:
        order(*arguments)
    assert caught.value.exit_code == EXIT_USAGE
    return str(caught.value)


# Defaults


def test_the_documented_defaults(work: Path, heard: Heard) -> None:
    made = order()
    (one,) = made.bundles
    assert one.cache == work / "saved-image-cache"
    assert one.output == Output(compression=Compression.GZIP, destination=work / "saved-images.tar.gz")
    assert one.failed_list == work / "save-failed.txt"
    assert one.jobs == 1
    assert one.access == Access(authfile=None, cert_dir=None, tls_verify=True, retries=3)
    assert [str(image.reference) for image in one.images] == ["docker.io/library/nginx:latest"]
    assert one.images[0].source == one.images[0].reference
    assert [str(architecture) for architecture in made.platforms.architectures] == ["amd64", "arm64"]
    assert made.platforms.systems == ()
    assert made.list_files == (work / "list.txt",)
    assert not (made.interactive or made.dry_run or made.force or made.lock or made.locked or made.wait)
    assert heard.texts == []


def test_the_destination_follows_the_compression(work: Path) -> None:
    assert bundle("-compress=gzip").output.destination == work / "saved-images.tar.gz"
    assert bundle("-compress=zstd").output.destination == work / "saved-images.tar.zst"
    folder = bundle("-compress=dir")
    assert folder.output.destination == folder.cache == work / "saved-image-cache"
    assert folder.is_cache
    assert bundle("-compress=dir", "-cache", "other").output.destination == work / "other"
    assert not bundle("-compress=dir", "-d", "out").is_cache


def test_a_given_destination_is_kept_whatever_its_name(work: Path, heard: Heard) -> None:
    assert bundle("-compress=zstd", "-d", "saved.tar.zstd").output.destination == work / "saved.tar.zstd"
    assert bundle("-compress=zstd", "-d", "saved-images.tar.gz").output.destination == work / "saved-images.tar.gz"
    assert [text.split(":")[0] for text in heard.texts] == ["-d saved-images.tar.gz"]
    heard.texts.clear()
    bundle("-d", "a.tar.zst")
    assert "gzip" in heard.texts[0]


def test_switches() -> None:
    made = order("-dry-run", "-force", "-wait")
    assert made.dry_run
    assert made.force
    assert made.wait
    assert order("-lock").lock


def test_an_unknown_compression() -> None:
    assert refusal("-compress=xz") == '-compress: invalid value "xz": use one of gzip, zstd, dir'
    for text in ("", "GZIP", "gzip ", "none"):
        assert "-compress: invalid value" in refusal(f"-compress={text}")


# -j


def test_jobs(heard: Heard) -> None:
    assert [bundle("-j", str(number)).jobs for number in (1, 2, 20)] == [1, 2, 20]
    assert heard.texts == []
    assert bundle("-j", "21").jobs == 20
    assert heard.texts == ["-j 21 is more than the maximum; using 20"]
    for number in ("0", "-1"):
        assert "use a number from 1 to 20" in refusal("-j", number)


# -part, -part-size


def test_part_sizes() -> None:
    for text, size in {
        "1": 1,
        "1K": K,
        "1k": K,
        "100M": 100 * M,
        "4g": 4 * G,
        "2G": 2 * G,
        "1T": T,
        "007": 7,
        "1048576": M,
    }.items():
        assert bundle("-part", f"-part-size={text}").output.part_size == size
    assert bundle("-part").output.part_size == 2 * G
    assert bundle("-part=false").output.part_size is None


def test_bad_part_sizes_are_errors_with_and_without_part() -> None:
    nonsense = ("1.5G", "", " ", "G", "2GB", "2GiB", "2 G", "1e3", "0x10", "two", "1\0", "2P", "\u0661", "9" * 5000)
    # The last is the Kelvin sign, which is a K for regular expressions that ignore case.
    for text in ("0", "0K", "-1", "+1", *nonsense, "1\u212a"):
        assert "invalid part size" in refusal("-part", "-part-size", text)
        assert "invalid part size" in refusal("-part-size", text)


def test_a_part_size_without_part_is_a_warning(heard: Heard) -> None:
    assert bundle("-part-size=1G").output.part_size is None
    assert heard.texts == ["-part-size has no effect without -part"]


def test_a_folder_is_not_cut() -> None:
    assert "-compress: dir makes a folder, which is not cut into volumes" in refusal("-compress=dir", "-part")
    assert "-compress: dir makes a folder, which is not cut into volumes" in refusal(
        "-compress=dir", "-d", "out", "-part", "-part-size=1G"
    )
    assert bundle("-compress=dir", "-part=false").output.part_size is None


@given(st.integers(1, 10**12), st.sampled_from(["", "K", "M", "G", "T", "k", "m", "g", "t"]))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * {"": 1, "K": K, "M": M, "G": G, "T": T}[unit.upper()]


@settings(max_examples=60)
@given(st.text() | st.text("019KMGTPkb.", max_size=25))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    try:
        assert parse_size(text) > 0
    except UsageError as error:
        assert "invalid part size" in str(error)


# -s


def test_the_source_registry_changes_where_images_come_from_not_what_they_are_called() -> None:
    for source, expected in {
        "r.io": "r.io/library/nginx:latest",
        "r.io:5000": "r.io:5000/library/nginx:latest",
        "127.0.0.1:5000/mirror/hub": "127.0.0.1:5000/mirror/hub/library/nginx:latest",
    }.items():
        (image,) = bundle("-s", source).images
        assert (str(image.source), str(image.reference), image.text) == (expected, "docker.io/library/nginx:latest", "nginx")
    assert bundle("-s", "").images[0].source.registry == "docker.io"


def test_a_bad_source_registry() -> None:
    assert "leave out the scheme" in refusal("-s", "https://r.io")
    assert "invalid registry" in refusal("-s", "r.io/")
    assert "harbor:443" in refusal("-s", "harbor")


# -a, -os


def test_architectures() -> None:
    for text, expected in {
        "amd64": "amd64",
        "amd64,arm64": "amd64,arm64",
        " amd64 , arm64 ": "amd64,arm64",
        "amd64,amd64,arm64,amd64": "amd64,arm64",
        "arm/v7": "arm/v7",
        "arm/v6,arm/v7,s390x": "arm/v6,arm/v7,s390x",
        "x86_64,aarch64": "amd64,arm64",
        "armhf": "arm/v7",
        "all": "all",
        " all ": "all",
        "amd64,all": "all",
    }.items():
        assert str(order("-a", text).platforms) == expected
    assert order("-a", "all").platforms.architectures == ()


def test_the_operating_system_has_a_flag_of_its_own() -> None:
    assert "os linux, arch amd64" in refusal("-a", "linux/amd64")
    assert "os windows, arch amd64" in refusal("-a", "amd64,windows/amd64")
    assert "os linux, arch arm/v7" in refusal("-a", "linux/arm/v7")


def test_bad_architectures() -> None:
    empty = ("", " ", ",", "amd64,", ",amd64", "amd64,,arm64")
    for text in (*empty, "AMD64", "amd64 arm64", "amd64;arm64", "-a", "arm/", "arm/v7/x", "../a"):
        message = refusal("-a", text)
        assert message.startswith(("-a: invalid value", "-a: invalid architecture"))
        assert "arm64" in message, "it says how it is done"


def test_an_architecture_that_nobody_has_heard_of_is_warned_about_once(heard: Heard) -> None:
    assert order("-a", "amd46").platforms.architectures == (Architecture("amd46"),)
    assert heard.texts == ["'amd46' is no architecture that images are usually made for"]
    heard.texts.clear()
    order("-a", "386,arm,ppc64le,riscv64,loong64")
    assert heard.texts == []


def test_operating_systems() -> None:
    for text, expected in {
        "": (),
        "all": (),
        "linux,all": (),
        "linux": ("linux",),
        " linux , windows ": ("linux", "windows"),
        "linux,linux": ("linux",),
    }.items():
        assert order("-os", text).platforms.systems == expected
    for text in (",", "linux,", "Linux", "lin ux"):
        assert "-os: " in refusal("-os", text)
    assert "os linux, arch arm64" in refusal("-os", "linux/arm64")


def test_what_a_filter_lets_through() -> None:
    platforms = {
        "amd64": Platform("linux", "amd64"),
        "v6": Platform("linux", "arm", "v6"),
        "v7": Platform("linux", "arm", "v7"),
        "arm": Platform("linux", "arm"),
        "arm64": Platform("linux", "arm64"),
        "v8": Platform("linux", "arm64", "v8"),
        "windows": Platform("windows", "amd64", "", "10.0.1"),
    }
    for architectures, systems, expected in (
        ("all", "", "amd64 v6 v7 arm arm64 v8 windows"),
        ("amd64,arm64", "", "amd64 arm64 v8 windows"),
        ("amd64", "linux", "amd64"),
        ("all", "windows", "windows"),
        ("arm", "", "v6 v7 arm"),
        ("arm/v6", "", "v6"),
        # containerd's platforms package: arm without a variant is v7, arm64 without one is v8.
        ("arm/v7", "", "v7 arm"),
        ("arm64/v8", "", "arm64 v8"),
        ("s390x", "", ""),
        ("amd64", "freebsd", ""),
    ):
        chosen = parse_platforms(architectures, systems)
        assert [name for name, platform in platforms.items() if chosen.matches(platform)] == expected.split()


# Paths


def test_relative_paths_are_made_absolute(work: Path) -> None:
    (work / "auth.json").write_text("{}")
    (work / "certs").mkdir()
    arguments = ["-d", "a/b.tar.gz", "-cache", "../c", "-o", "./f.txt", "-authfile", "auth.json", "-cert-dir", "certs"]
    made = bundle(*arguments)
    assert made.output.destination == work / "a/b.tar.gz"
    assert made.cache == work.parent / "c"
    assert made.failed_list == work / "f.txt"
    assert made.access == Access(authfile=work / "auth.json", cert_dir=work / "certs", tls_verify=True, retries=3)


def test_home_and_links_are_resolved_so_that_one_place_has_one_name(work: Path, tmp_path: Path) -> None:
    (work / "link").symlink_to(tmp_path / "home")
    assert bundle("-d=~/b.tar.gz").output.destination == tmp_path / "home/b.tar.gz"
    assert bundle("-d=~/b.tar.gz").id == bundle("-d=link/b.tar.gz").id == bundle(f"-d={tmp_path}/home/b.tar.gz").id


def test_access() -> None:
    assert bundle("-tls-verify=false", "-retry", "0").access == Access(
        authfile=None, cert_dir=None, tls_verify=False, retries=0
    )
    assert "-retry: " in refusal("-retry", "-1")


def test_a_missing_login_file_or_certificate_folder_is_no_anonymous_access(work: Path) -> None:
    message = refusal("-authfile", "auth.json")
    assert f"-authfile: {work}/auth.json: there is no such file" in message
    assert "skopeo login" in message
    assert "no such file" in refusal("-authfile", ".")
    assert "no such folder" in refusal("-cert-dir", "certs")
    assert "no such folder" in refusal("-cert-dir", "list.txt")


def test_empty_paths_and_nul_are_refused() -> None:
    for flag in ("-d", "-o", "-cache"):
        for text in ("", "a\0b"):
            assert refusal(flag, text)


def test_destinations_that_would_destroy_something(work: Path) -> None:
    (work / "folder").mkdir()
    (work / "full").mkdir()
    (work / "full/file").touch()
    (work / "saved-image-cache").mkdir()
    assert "is a folder" in refusal("-d", "folder")
    assert "lies in the cache" in refusal("-d", "saved-image-cache/a.tar.gz")
    assert "is a file" in refusal("-compress=dir", "-d", "list.txt")
    assert "holds other files" in refusal("-compress=dir", "-d", "full")
    assert "lie in each other" in refusal("-compress=dir", "-d", "saved-image-cache/out")
    assert "lie in each other" in refusal("-compress=dir", "-d", ".")
    assert bundle("-compress=dir", "-d", "folder").output.destination == work / "folder"
    for name in (LAYOUT_FILE, IMAGES_LIST):
        (work / "full" / name).touch()
    assert bundle("-compress=dir", "-d", "full").output.destination == work / "full", "it is ours"


def test_the_failed_list_is_nobody_elses_file(work: Path) -> None:
    """It is removed when nothing failed: with ``-o`` like ``-d``, the bundle just written would go."""
    (work / "folder").mkdir()
    (work / "link.txt").symlink_to("saved-images.tar.gz")
    for name in ("saved-images.tar.gz", "saved-images.tar.gz.sha256", "saved-image-cache", "folder", ".", "link.txt"):
        assert "-o" in refusal("-o", name)
    assert "-o" in refusal("-d", "x", "-o", "x")
    assert bundle("-o", "list.txt").failed_list == work / "list.txt", "-o and -f may be the same"


def test_the_image_list_is_not_replaced_by_the_bundle() -> None:
    assert "would replace the image list" in refusal("-d", "list.txt")
    assert "would replace the image list" in refusal("-d", "./list.txt")


# The list


def test_several_lists_are_one_list(work: Path) -> None:
    (work / "more.txt").write_text("redis\nnginx\nbusybox\n")
    made = order("-f", "more.txt", "-f=list.txt")
    (one,) = made.bundles
    assert [(image.m_id, image.text) for image in one.images] == [(1, "nginx"), (2, "redis"), (3, "busybox")]
    assert made.list_files == (work / "list.txt", work / "more.txt")
    assert one.lock_file == work / "list.txt.lock.yaml", "beside the first"
    assert "would replace the image list" in refusal("-f", "more.txt", "-d", "more.txt")


def test_what_is_wrong_in_any_of_the_lists(work: Path) -> None:
    (work / "bad.txt").write_text("NGINX\n")
    (work / "worse.txt").write_text("a b\n")
    (work / "empty.txt").write_text("# nothing\n")
    message = refusal("-f", "bad.txt", "-f", "empty.txt", "-f", "worse.txt")
    assert [line.partition(": ")[0] for line in message.splitlines()] == ["bad.txt:1", "empty.txt", "worse.txt:1"]


def test_a_list_that_cannot_be_read(work: Path) -> None:
    for name, reason in (("missing.txt", "No such file"), (".", "directory"), ("list.txt/x", "irectory")):
        with pytest.raises(InputError, match=f"cannot read the image list {name}: .*{reason}") as caught:
            order(f=name)
        assert caught.value.exit_code == EXIT_USAGE


def test_bad_lines_are_reported_with_the_name_that_was_given(work: Path) -> None:
    (work / "sub").mkdir()
    (work / "sub/bad.txt").write_text("NGINX\nok\n-x\n")
    with pytest.raises(InputError) as caught:
        order(f="sub/bad.txt")
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == ["sub/bad.txt:1", "sub/bad.txt:3"]


def test_images_are_numbered_by_their_place_in_the_list(work: Path) -> None:
    (work / "list.txt").write_text("# c\nb\n\na\nb\nc\n")
    assert [(image.m_id, image.text) for image in bundle().images] == [(1, "b"), (2, "a"), (3, "c")]


def test_a_list_from_a_pipe_as_the_shell_names_it() -> None:
    """``-f <(grep ...)`` is ``/dev/fd/63``, a link that leads nowhere once it is resolved."""
    reading, writing = os.pipe()
    try:
        os.write(writing, b"redis:7\n")
        os.close(writing)
        assert [image.text for image in order(f=f"/dev/fd/{reading}").bundles[0].images] == ["redis:7"]
    finally:
        os.close(reading)


# Standard input


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"redis\nnginx\n")))


@pytest.mark.usefixtures("typed")
def test_a_pipe_is_a_list_of_one_job(heard: Heard) -> None:
    made = order(f=None)
    assert [image.text for image in made.bundles[0].images] == ["redis", "nginx"]
    assert (made.list_files, made.interactive, made.bundles[0].jobs, heard.texts) == ((), False, 1, [])


@pytest.mark.usefixtures("typed")
def test_a_pipe_with_more_jobs_is_a_warning(heard: Heard) -> None:
    assert order("-j", "4", f=None).bundles[0].jobs == 1
    assert len(heard.texts) == 1
    assert "-f -" in heard.texts[0]


@pytest.mark.usefixtures("typed")
def test_a_dash_is_standard_input_with_all_jobs(heard: Heard) -> None:
    made = order("-j", "4", f="-")
    assert (made.bundles[0].jobs, made.list_files, made.interactive, heard.texts) == (4, (), False, [])


def test_an_empty_pipe_is_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin in (io.TextIOWrapper(io.BytesIO(b"# nothing\n")), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(InputError, match="standard input: the list holds no image"):
            order(f=None)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    controller, terminal = os.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as raw, io.TextIOWrapper(raw) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield
        monkeypatch.undo()
    os.close(controller)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_is_asked_image_by_image(heard: Heard) -> None:
    made = order("-j", "4", "-a", "arm64", "-s", "r.io", f=None)
    assert (made.interactive, made.bundles[0].images, made.bundles[0].jobs) == (True, (), 1)
    assert (str(made.platforms), made.source) == ("arm64", "r.io")
    assert len(heard.texts) == 1


# All at once


NAMES = st.sampled_from([flag.name for flag in SAVE_FLAGS])
VALUES = st.sampled_from(["", "1", "0", "true", "gzip", "dir", "a,b", "~", "é", "list.txt"])


@given(st.lists(st.builds("-{}={}".format, NAMES, VALUES), max_size=5))
@example(["-f="])
def test_any_flags_are_an_order_or_are_refused(arguments: list[str]) -> None:
    try:
        made = order(*arguments)
    except (UsageError, InputError):
        return
    for each in made.bundles:
        assert all(path.is_absolute() for path in (each.cache, each.output.destination, each.failed_list))
        assert 1 <= each.jobs <= 20


def test_help_shows_every_flag_once() -> None:
    named = [name for names in GROUPS.values() for name in names.split()]
    assert sorted(named) == sorted(flag.name for flag in SAVE_FLAGS)
