"""Wrong flags, lists and places: exit code 2, every problem named, and nothing written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.documented import SAVE_HELP
from tests.support.kinds import push_kind
from tests.support.push import PushedImage
from tests.support.registry import Registry
from tests.support.run import Result, run
from tests.system.save.saving import ARCHIVE, CACHE, FAILED, LIST, PLAIN, command, saved, unpack, write_list

DOCUMENTED = {
    "a": "amd64,arm64",
    "compress": "gzip",
    "d": "saved-images.tar.gz",
    "debug": None,
    "f": None,
    "j": "1",
    "o": "save-failed.txt",
    "part": None,
    "part-size": "2G",
    "s": None,
}


@pytest.fixture(scope="session")
def good(registry: Registry) -> PushedImage:
    return push_kind(registry, "oci-single", "usage/good")


def entries(folder: Path = Path()) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


WRONG: dict[str, tuple[list[str], str]] = {
    "unknown flag": (["-x"], "flag provided but not defined: -x"),
    "misspelt flag": (["-partsize", "1"], "did you mean -part-size"),
    "no value": (["-f"], "flag needs an argument: -f"),
    "rest": (["list.txt"], "list.txt is a file, not an image"),
    "jobs 0": (["-j", "0"], "-j: invalid value 0"),
    "jobs -1": (["-j=-1"], "-j: invalid value -1"),
    "jobs text": (["-j", "many"], "many"),
    "part size 0": (["-part", "-part-size", "0"], "larger than zero"),
    "part size 0K": (["-part", "-part-size", "0K"], "larger than zero"),
    "part size negative": (["-part", "-part-size=-5"], "invalid part size"),
    "part size nonsense": (["-part", "-part-size", "2 gigs"], "invalid part size"),
    "part size float": (["-part", "-part-size", "1.5G"], "invalid part size"),
    "part size without part": (["-part-size", "nonsense"], "invalid part size"),
    "part of a folder": (["-part", "-compress=dir"], "-compress: dir makes a folder, which is not cut"),
    "compress": (["-compress", "xz"], "gzip, zstd, dir"),
    "bool": (["-part=perhaps"], '-part: invalid value "perhaps"'),
    "arch with system": (["-a", "linux/amd64"], "os linux, arch amd64"),
    "arch empty": (["-a", ""], "-a"),
    "arch comma": (["-a", "amd64,,arm64"], "-a"),
    "source scheme": (["-s", "https://r.example.com"], "leave out the scheme"),
    "source user": (["-s", "user:secret@r.example.com"], "not a host name"),
    "source option": (["-s", "--dest-creds"], "not a host name"),
    "retry": (["-retry", "-1"], "-retry"),
    "authfile": (["-authfile", "none"], "there is no such file"),
    "cert-dir": (["-cert-dir", "none"], "there is no such folder"),
    "destination empty": (["-d", ""], "empty"),
    "destination is a folder": (["-d", "folder"], "e.g. folder/saved-images.tar.gz"),
    "destination in the cache": (["-d", "saved-image-cache/x.tar.gz"], "lies in the cache"),
    "folder is a file": (["-compress=dir", "-d", "file"], "is a file"),
    "folder is not ours": (["-compress=dir", "-d", "folder"], "holds other files"),
    "folder in the cache": (["-compress=dir", "-d", "saved-image-cache/x"], "lie in each other"),
    "folder around the cache": (["-compress=dir", "-d", "."], "lie in each other"),
    "cache is a file": (["-cache", "file"], "is not a folder"),
    "cache holds other files": (["-cache", "folder"], "holds other files"),
    "failed list is a folder": (["-o", "folder"], "is a folder"),
    "destination is a device": (["-d", "pipe"], "-d: pipe is not a file"),
    "failed list is a device": (["-o", "pipe"], "-o: pipe is not a file"),
    "destination is the list": (["-d", "list.txt"], "would replace the image list"),
    "failed list is the destination": (["-d", "x.tar.gz", "-o", "x.tar.gz"], "-o: x.tar.gz is"),
    "failed list is the checksum file": (["-d", "x.tar.gz", "-o", "x.tar.gz.sha256"], "-o: x.tar.gz.sha256 is"),
    "list is a folder": (["-f", "folder"], "cannot read the image list folder"),
    "list is not there": (["-f", "none.txt"], "cannot read the image list none.txt: No such file or directory"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_flags(name: str, good: PushedImage) -> None:
    arguments, message = WRONG[name]
    write_list([good])
    Path("file").write_text("mine")
    Path("folder").mkdir()
    Path("folder", "mine").touch()
    os.mkfifo("pipe")  # as good as /dev/null, which nobody would miss here
    before = entries()
    source = [] if "-f" in arguments else ["-f", "list.txt"]
    result = command("save", *source, PLAIN, *arguments)
    assert result.code == 2, result
    shown = result.stderr.replace(f"{Path.cwd()}/", "")
    assert message in shown, result
    assert result.stderr.startswith("image-tools: ")
    assert result.stdout == ""
    assert entries() == before
    assert Path("file").read_text() == "mine"
    assert Path("pipe").is_fifo()


def test_bad_lines_are_named_all_at_once(good: PushedImage) -> None:
    bad = {
        3: "some/UPPER",
        4: "two words",
        5: "name:",
        6: "name@sha256:123",
        8: "-option",
        9: "a/../../etc",
        10: "name:tag\x1b[31m",
        11: "x" * 300,
    }
    text = [bad.get(number, "") for number in range(1, 12)]
    text[0], text[1], text[6] = "# comment", good.reference, "// comment"
    LIST.write_text("\n".join(text))
    result = command("save", "-f", LIST, PLAIN)
    assert result.code == 2
    numbers = [int(number) for number in re.findall(r"list\.txt:(\d+): ", result.stderr)]
    assert numbers == list(bad)
    assert "'some/UPPER'" in result.stderr
    assert "lower case" in result.stderr
    assert "one image a line" in result.stderr
    assert "\x1b" not in result.stderr
    assert entries() == ["list.txt"]


NO_LISTS = {
    "empty": b"",
    "blank": b"\n\n",
    "comments": b"# nothing\n// nothing\n",
    "mark": b"\xef\xbb\xbf\n",
    "UTF-16": b"\xff\xfea\0:\0b\0",
    "latin-1": b"caf\xe9\n",
    "zeros": b"\0\0\0",
}


def refused(result: Result) -> None:
    assert result.code == 2, result
    assert result.stderr.startswith("image-tools: ")
    assert "should not happen" not in result.stderr
    assert not CACHE.exists()
    assert not FAILED.exists()


@pytest.mark.parametrize("name", NO_LISTS)
def test_a_list_that_is_none(name: str) -> None:
    LIST.write_bytes(NO_LISTS[name])
    refused(command("save", "-f", LIST))


@pytest.mark.parametrize("arguments", [[], ["-f", "-"]], ids=["pipe", "dash"])
def test_standard_input_that_is_no_list(arguments: list[str]) -> None:
    for name in ("empty", "latin-1"):
        refused(run("save", *arguments, stdin=NO_LISTS[name]))


def test_a_password_in_a_list_or_flag_is_not_repeated(good: PushedImage) -> None:
    write_list(["https://user:secret-word@registry.example.com/a/b:1", good])
    for arguments in ([], ["-s", "https://user:secret-word@registry.example.com"]):
        result = command("save", "-f", LIST, *arguments)
        assert result.code == 2
        assert "secret-word" not in result.stderr + result.stdout


def test_go_flag_syntax(good: PushedImage) -> None:
    """``-x v``, ``-x=v``, ``--x v`` and ``--x=v`` alike; a switch takes a value only with ``=``; ``--`` ends the flags."""
    forms = [
        ["-f", "list.txt", "-tls-verify=false", "-part", "-part-size", "4K"],
        ["-f=list.txt", "-tls-verify=0", "-part=true", "-part-size=4k"],
        ["--f", "list.txt", "--tls-verify=f", "--part", "--part-size", "4096"],
        ["--f=list.txt", "--tls-verify=FALSE", "--part=T", "--part-size=4096", "--"],
    ]
    write_list([good])
    made = []
    for number, form in enumerate(forms):
        result = command("save", "-d", f"{number}.tar.gz", *form)
        assert result.code == 0, result
        made.append([path.read_bytes() for path in sorted(Path().glob(f"{number}.tar.gz.part*"))])
    assert made[0] == made[1] == made[2] == made[3] != []


def test_more_jobs_than_the_maximum(good: PushedImage) -> None:
    result = saved([good], "-j", "100")
    assert "using 20" in result.stderr
    assert " WARN " in result.stderr


def test_an_architecture_that_nobody_has_is_warned_about(good: PushedImage) -> None:
    result = saved([good], "-a", "amd64,amd46")
    assert "'amd46' is no architecture that images are usually made for" in result.stderr


@pytest.mark.parametrize("flag", ["-h", "--help", "-help", "--h"])
def test_help(flag: str) -> None:
    result = command("save", "-f", "none", flag)
    assert (result.code, result.stderr) == (0, "")
    head, _, text = result.stdout.partition("\n")
    assert head == "Usage of save:"
    for name, default in DOCUMENTED.items():
        [(kind, line)] = re.findall(rf"^  -{name}( \w+)?\n        (.*)$", text, re.MULTILINE)
        assert kind == {"j": " int", "part": "", "debug": ""}.get(name, " string")
        shown = re.search(r"\(default (.*)\)$", line)
        assert (shown[1].strip('"') if shown else None) == default
    assert entries() == []


def test_the_documented_words(good: PushedImage) -> None:
    """Every line of the document's help stands in ours."""
    text = command("save", "-h").stdout
    for line in SAVE_HELP.splitlines():
        assert line in text.splitlines() or line in text, line


def test_other_commands() -> None:
    assert re.fullmatch(r"image-tools \d+\.\d+\.\d+\n", command("version").stdout)
    assert command("help").code == 0
    unknown = command("sav")
    assert unknown.code == 2
    assert "sav" in unknown.stderr


def test_no_skopeo(good: PushedImage, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("save", "-f", write_list([good]), PLAIN, env={"PATH": "/nowhere"})
    assert result.code == 3
    assert "skopeo is not installed" in result.stderr
    assert "apt-get install skopeo" in result.stderr
    assert not ARCHIVE.exists()


def test_skopeo_too_old(good: PushedImage) -> None:
    old = Path("bin/skopeo").absolute()
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho skopeo version 1.4.1\n")
    old.chmod(0o755)
    result = run("save", "-f", write_list([good]), PLAIN, env={"PATH": f"{old.parent}:{os.environ['PATH']}"})
    assert result.code == 3
    assert "1.4.1 is too old" in result.stderr
    assert "1.9.3" in result.stderr
    assert not ARCHIVE.exists()


def test_images_as_arguments(good: PushedImage, registry: Registry) -> None:
    """Before and after flags, under their long names, beside a list; each image once, wherever it comes from first."""
    other = push_kind(registry, "docker-single", "usage/other")
    write_list([other])
    for arguments in (
        [good.reference, PLAIN, "--destination", "a.tar.gz"],
        [good.reference, PLAIN, "--file", "list.txt", "-d=a.tar.gz", good.reference],
        [PLAIN, "--jobs=2", "-d", "a.tar.gz", "--", other.reference, good.reference],
    ):
        result = run("save", *arguments, stdin=f"{other.reference}\n")
        assert result.code == 0, result
        wanted = (
            {good.reference} if "list.txt" not in arguments and "--" not in arguments else {good.reference, other.reference}
        )
        assert set(unpack(Path("a.tar.gz")).names) == wanted
    assert not Path("saved-images.tar.gz").exists()


def test_a_list_without_its_flag(good: PushedImage) -> None:
    write_list([good])
    result = command("save", "list.txt", PLAIN)
    assert (result.code, entries()) == (2, ["list.txt"])
    assert "list.txt is a file, not an image\nTIP: an image list is given with -f: -f list.txt" in result.stderr
