"""References: the cases of distribution/reference itself, round trips, folder names, ``-s``, and hostile text."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.core.bundle import PlatformFilter, image
from pipeline.core.errors import EXIT_USAGE, InputError
from pipeline.core.image_list import Line
from pipeline.core.oci import Digest
from pipeline.core.reference import MAX_REPOSITORY_LENGTH, Reference, parse, parse_source, shorten

F256 = "sha256:" + "f" * 64
F512 = "sha512:" + "f" * 128
HEX64 = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a"

# What distribution/reference's own tests accept (reference_test.go, normalize_test.go), with what normalising makes of it.
VALID = {
    "test_com": "docker.io/library/test_com:latest",
    "test.com:tag": "docker.io/library/test.com:tag",
    "test.com:5000": "docker.io/library/test.com:5000",
    "test.com/repo:tag": "test.com/repo:tag",
    "test:5000/repo": "test:5000/repo:latest",
    "test:5000/repo:tag": "test:5000/repo:tag",
    f"test:5000/repo@{F256}": f"test:5000/repo@{F256}",
    f"test:5000/repo:tag@{F256}": f"test:5000/repo:tag@{F256}",
    "lowercase:Uppercase": "docker.io/library/lowercase:Uppercase",
    "a/" * 127 + "a:tag-puts-this-over-max": "docker.io/" + "a/" * 127 + "a:tag-puts-this-over-max",
    "sub-dom1.foo.com/bar/baz/quux": "sub-dom1.foo.com/bar/baz/quux:latest",
    "sub-dom1.foo.com/bar/baz/quux:some-long-tag": "sub-dom1.foo.com/bar/baz/quux:some-long-tag",
    "b.gcr.io/test.example.com/my-app:test.example.com": "b.gcr.io/test.example.com/my-app:test.example.com",
    "xn--n3h.com/myimage:xn--n3h.com": "xn--n3h.com/myimage:xn--n3h.com",
    f"xn--7o8h.com/myimage:xn--7o8h.com@{F512}": f"xn--7o8h.com/myimage:xn--7o8h.com@{F512}",
    "foo_bar.com:8080": "docker.io/library/foo_bar.com:8080",
    "foo/foo_bar.com:8080": "docker.io/foo/foo_bar.com:8080",
    "192.168.1.1": "docker.io/library/192.168.1.1:latest",
    "192.168.1.1:tag": "docker.io/library/192.168.1.1:tag",
    "192.168.1.1:5000": "docker.io/library/192.168.1.1:5000",
    "192.168.1.1/repo": "192.168.1.1/repo:latest",
    "192.168.1.1:5000/repo": "192.168.1.1:5000/repo:latest",
    "192.168.1.1:5000/repo:5050": "192.168.1.1:5000/repo:5050",
    "[2001:db8::1]/repo": "[2001:db8::1]/repo:latest",
    "[2001:db8:1:2:3:4:5:6]/repo:tag": "[2001:db8:1:2:3:4:5:6]/repo:tag",
    "[2001:db8::1]:5000/repo": "[2001:db8::1]:5000/repo:latest",
    "[2001:db8::1]:5000/repo:tag": "[2001:db8::1]:5000/repo:tag",
    f"[2001:db8::1]:5000/repo@{F256}": f"[2001:db8::1]:5000/repo@{F256}",
    f"[2001:db8::1]:5000/repo:tag@{F256}": f"[2001:db8::1]:5000/repo:tag@{F256}",
    "[2001:db8::]:5000/repo": "[2001:db8::]:5000/repo:latest",
    "[::1]:5000/repo": "[::1]:5000/repo:latest",
    "docker/docker": "docker.io/docker/docker:latest",
    "library/debian": "docker.io/library/debian:latest",
    "debian": "docker.io/library/debian:latest",
    "docker.io/docker/docker": "docker.io/docker/docker:latest",
    "docker.io/debian": "docker.io/library/debian:latest",
    "index.docker.io/docker/docker": "docker.io/docker/docker:latest",
    "index.docker.io/library/debian": "docker.io/library/debian:latest",
    "index.docker.io/debian": "docker.io/library/debian:latest",
    "127.0.0.1:5000/debian": "127.0.0.1:5000/debian:latest",
    "127.0.0.1:5000/library/debian": "127.0.0.1:5000/library/debian:latest",
    "192.168.0.1:8/debian": "192.168.0.1:8/debian:latest",
    "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev": (
        "docker.io/library/thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev:latest"
    ),
    f"docker.io/{HEX64}": f"docker.io/library/{HEX64}:latest",
    HEX64[:-1]: f"docker.io/library/{HEX64[:-1]}:latest",
    "Docker/docker": "Docker/docker:latest",
    "FOO/bar": "FOO/bar:latest",
    "docker-rules/docker": "docker.io/docker-rules/docker:latest",
    "docker---rules/docker": "docker.io/docker---rules/docker:latest",
    "d/docker": "docker.io/d/docker:latest",
    "dock__er/docker": "docker.io/dock__er/docker:latest",
    "docker.io/library/foo/bar": "docker.io/library/foo/bar:latest",
    "test_com/foo": "docker.io/test_com/foo:latest",
    "test-com:8080/foo": "test-com:8080/foo:latest",
    "xn--n3h.com:18080/foo": "xn--n3h.com:18080/foo:latest",
    f"busybox:latest@{F256}": f"docker.io/library/busybox:latest@{F256}",
    "localhost/a": "localhost/a:latest",
    "localhost:5000/a/b:1": "localhost:5000/a/b:1",
    "localhost": "docker.io/library/localhost:latest",
}

# What they refuse.
INVALID = (
    "",
    ":justtag",
    f"@{F256}",
    "repo@sha256:ffffffffffffffffffffffffffffffffff",
    "validname@invaliddigest:" + "f" * 128,
    "Uppercase:tag",
    "test:5000/Uppercase/lowercase:tag",
    "a/" * 128 + "a:tag",
    "aa/asdf$$^/aa",
    "[2001:db8::1]",
    "[2001:db8::1]:5000",
    "[2001:db8::1]:tag",
    "[fe80::1%eth0]:5000/repo",
    "[fe80::1%@invalidzone]:5000/repo",
    "https://github.com/docker/docker",
    "docker/Docker",
    "-docker",
    "-docker/docker",
    "-docker.io/docker/docker",
    "docker///docker",
    "docker.io/docker/Docker",
    "docker.io/docker///docker",
    "[fc00::1]",
    "[fc00::1]:5000",
    "fc00::1:5000/debian",
    "[fe80::1%eth0]:5000/debian",
    "[2001:db8:3:4::192.0.2.33]:5000/debian",
    HEX64,
    "docker-/docker",
    "-docker-/docker",
    "____/____",
    "_docker/_docker",
    "context..er/docker",
    "dock_.er/docker",
    "context-.er/docker",
    "docker/",
    "this_is_not_a_valid_namespace_because_its_lenth_is_greater_than_255_" * 4 + "/docker",
    "busybox:-foo",
    "busybox@foo",
    f"busybox@sha256:{'F' * 64}",
    f"busybox@{F256}0",
    f"busybox@{F256}@{F256}",
    f"busybox:@{F256}",
    "busybox:",
    "busybox@",
    "busybox:tag:tag",
    f"busybox:{'t' * 129}",
    "/busybox",
    "busybox/",
)

HOSTILE = (
    "nginx\0",
    "nginx\x1b[31m",
    "nginx\n--option",
    "ngin\u0445",
    "nginx:\u0661",
    "\u202enginx",
    "\ud800",
    "..",
    "../../etc/passwd",
    "docker.io/../../etc/passwd",
    "a/../b",
    "a/./b",
    "./a",
    "/etc/passwd",
    "~/a",
    "r.io/..:5000/a",
    "../r.io/a",
    "-a",
    "--all",
    "r.io/-a",
    "a:-b",
    "a:..",
    "a b",
    "a;reboot",
    "$(reboot)",
    "a\\b",
    "a+b",
    "a:b+c",
    "r.io:+5000/a",
    "docker://a/b",
    "a" * 1_000_000,
    "a/" * 100_000,
    "a." * 100_000,
    "a-" * 100_000,
    "a:" + "b" * 1_000_000,
    "a@" + "b" * 1_000_000,
    "a" * 100_000 + ".io/b",
    "a." * 50_000 + "io/b",
    "[" + ":" * 100_000 + "]/a",
)


def refusal(text: str, read: Callable[[str], object] = parse) -> InputError | None:
    try:
        read(text)
    except InputError as error:
        return error
    return None


def test_accepts_and_normalises_what_distribution_accepts() -> None:
    assert {text: str(parse(text)) for text in VALID} == VALID


def test_refuses_what_distribution_refuses() -> None:
    errors = {text: refusal(text) for text in INVALID}
    assert [text for text, error in errors.items() if error is None] == []
    assert {(error.exit_code, len(error.problems)) for error in errors.values() if error} == {(EXIT_USAGE, 1)}


def test_the_parts() -> None:
    reference = parse(f"localhost:5000/a/b:1@{F256}")
    assert reference == Reference("localhost:5000", "a/b", "1", Digest("sha256", "f" * 64))
    assert (reference.name, reference.tag_or_digest) == ("localhost:5000/a/b", "1")
    assert parse(f"nginx@{F256}").tag_or_digest == F256
    assert parse(f"nginx@{F256}").listed == f"docker.io/library/nginx {F256}"


def test_a_tag_and_a_digest_are_asked_for_by_digest() -> None:
    other = Digest("sha256", "0" * 64)
    assert str(parse(f"nginx:1@{F256}").by_digest(other)) == f"docker.io/library/nginx@{other}"


def test_the_longest_name_counts_with_library() -> None:
    longest = "a" * (MAX_REPOSITORY_LENGTH - len("library/"))
    assert parse(longest).repository == f"library/{longest}"
    assert parse("r.io/" + "a" * MAX_REPOSITORY_LENGTH).repository == "a" * MAX_REPOSITORY_LENGTH
    for text in (longest + "a", "r.io/" + "a" * (MAX_REPOSITORY_LENGTH + 1)):
        with pytest.raises(InputError, match="longer than 255"):
            parse(text)


def test_a_message_says_what_is_wrong_and_how_to_put_it_right() -> None:
    for text, hint in (
        ("docker/Docker", "names are lower case"),
        (HEX64, "write NAME@sha256:"),
        ("busybox@sha256:1", "64 lower case hex digits"),
        ("busybox:-foo", "invalid tag"),
        ("r.io/", "no image name"),
    ):
        with pytest.raises(InputError, match=hint):
            parse(text)


@pytest.mark.parametrize("read", [parse, parse_source])
def test_hostile_text_is_refused_in_harmless_words(read: Callable[[str], object]) -> None:
    errors = {text[:60]: str(refusal(text, read) or "ACCEPTED") for text in HOSTILE}
    assert [text for text, error in errors.items() if error == "ACCEPTED"] == []
    assert [text for text, error in errors.items() if not (error.isascii() and error.isprintable() and len(error) < 500)] == []


# Properties

WORDS = st.text("az09", min_size=1, max_size=3)
COMPONENTS = st.builds(
    lambda first, separator, second: first + separator + second if second else first,
    WORDS,
    st.sampled_from((".", "_", "__", "-", "---")),
    WORDS | st.just(""),
)
LONG_COMPONENTS = st.integers(100, 240).map(lambda size: "a" * size)
HOSTS = st.sampled_from(("docker.io", "r.io", "localhost", "127.0.0.1:5000", "r.io:5000", "[::1]:5000", "[::1]", "A-b.C", "R"))
TAGS = st.builds(lambda first, rest: first + rest, st.sampled_from("aZ9_"), st.text("aZ9_.-", max_size=5) | st.just("t" * 127))
DIGESTS = st.builds(
    lambda data, algorithm: Digest.of(data, algorithm), st.binary(max_size=2), st.sampled_from(("sha256", "sha512"))
)


@st.composite
def references(draw: st.DrawFn) -> Reference:
    """Normalised references: what ``parse`` gives."""
    host = draw(HOSTS)
    parts = draw(st.lists(COMPONENTS, min_size=1, max_size=3))
    if draw(st.integers(0, 9)) == 0:
        parts = [draw(LONG_COMPONENTS)]
    if host == "docker.io" and len(parts) == 1:
        parts = ["library", *parts]
    repository = "/".join(parts)
    assume(len(repository) <= MAX_REPOSITORY_LENGTH)
    tag, digest = draw(st.tuples(TAGS, st.none() | DIGESTS) | st.tuples(st.just(""), DIGESTS))
    return Reference(host, repository, tag, digest)


@settings(max_examples=60)
@given(references())
def test_what_is_written_is_read_again(reference: Reference) -> None:
    assert parse(str(reference)) == reference


@given(st.text(alphabet="aZ09.:/@-_+[]~ \0\n\u00e9", max_size=30) | st.text())
@example("a:b/c")
@example("a@b:c")
@example("[]/a")
@example("[:]/a")
@example("a//b")
def test_any_text_is_a_safe_reference_or_an_input_error(text: str) -> None:
    try:
        reference = parse(text)
    except InputError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._:/@\[\]-]+", str(reference))
    assert parse(str(reference)) == reference


@settings(max_examples=60)
@given(references())
def test_a_folder_holds_no_colon_and_stays_where_it_is_put(reference: Reference) -> None:
    folder = reference.folder
    assert ":" not in folder
    assert "@" not in folder
    parts = folder.split("/")
    assert len(parts) >= 2
    for part in parts:
        assert part not in ("", ".", "..")
        assert not part.startswith((".", "-"))
        assert len(part.encode()) <= 200
        assert part.isprintable()


@settings(max_examples=30)
@given(st.lists(references(), min_size=2, max_size=6, unique=True))
def test_no_two_references_share_a_folder_or_lie_in_each_other(found: list[Reference]) -> None:
    folders = [reference.folder for reference in found]
    assert len(set(folders)) == len(folders)
    assert not [a for a in folders for b in folders if a.startswith(f"{b}/")]


def test_folders_are_as_documented() -> None:
    assert parse("127.0.0.1:5000/rancher/rancher:v2.7.0").folder == "127.0.0.1+5000/rancher/rancher+v2.7.0"
    assert parse("nginx:1.25").folder == "docker.io/library/nginx+1.25"
    assert parse(f"nginx@{F256}").folder == f"docker.io/library/nginx+sha256+{'f' * 64}"


def test_nobody_can_choose_the_name_that_another_is_shortened_to() -> None:
    long = parse("r.io/" + "a" * 240 + ":v1")
    name, plus, digest = long.folder.rpartition("/")[2].partition("++")
    assert plus
    assert (len(name), len(digest)) == (120, 32)
    assert parse(f"r.io/{name}:{digest}").folder != long.folder


@given(st.text(max_size=300), st.text(max_size=300))
def test_shortened_texts_stay_different(a: str, b: str) -> None:
    assume(not re.search("[\ud800-\udfff]", a + b))
    assert (shorten(a) == shorten(b)) == (a == b)


# -s


def test_source_replaces_the_registry() -> None:
    for text, source, expected in (
        ("nginx", "r.io", "r.io/library/nginx:latest"),
        ("nginx:1.25", "r.io:5000", "r.io:5000/library/nginx:1.25"),
        ("rancher/rancher:v2.7.0", "custom.registry.io", "custom.registry.io/rancher/rancher:v2.7.0"),
        ("docker.io/nginx", "r.io", "r.io/library/nginx:latest"),
        ("index.docker.io/nginx", "r.io", "r.io/library/nginx:latest"),
        ("quay.io/a/b/c:1", "r.io/mirror", "r.io/mirror/a/b/c:1"),
        ("quay.io/nginx", "r.io", "r.io/nginx:latest"),
        ("localhost:5000/a", "127.0.0.1:6000/x/y", "127.0.0.1:6000/x/y/a:latest"),
        (f"nginx@{F256}", "localhost", f"localhost/library/nginx@{F256}"),
        (f"nginx:1@{F256}", "[::1]:5000", f"[::1]:5000/library/nginx:1@{F256}"),
        ("nginx", "Harbor/proxy", "Harbor/proxy/library/nginx:latest"),
    ):
        made = image(Line(parse(text), text, "list", 1), 1, source, PlatformFilter())
        assert str(made.source) == expected
        assert str(made.reference) == str(parse(text)), "the image keeps its name"
        assert parse(str(made.source)) == made.source, "skopeo reads it the way we mean it"


def test_a_bad_source_is_refused() -> None:
    for source, problem in (
        ("", "not a host name"),
        ("https://r.io", "leave out the scheme"),
        ("r.io/", "not a repository path"),
        ("r.io//a", "not a repository path"),
        ("r.io/Mirror", "not a repository path"),
        ("r.io/a:1", "not a repository path"),
        ("r.io/../a", "not a repository path"),
        ("/a", "not a host name"),
        ("-r.io", "not a host name"),
        ("r.io:", "not a host name"),
        ("r.io:http", "not a host name"),
        ("user@r.io", "not a host name"),
        ("r io", "not a host name"),
        # skopeo would read harbor/library/nginx as an image of the user "harbor" on Docker Hub, and fetch that.
        ("harbor", "harbor:443"),
        ("harbor/mirror", "harbor:443"),
    ):
        with pytest.raises(InputError, match=problem):
            parse_source(source)


@settings(max_examples=40)
@given(references(), st.sampled_from(("r.io", "localhost", "h:1", "[::1]:5000", "r.io/a/b")))
def test_another_source_changes_where_not_what(reference: Reference, source: str) -> None:
    moved = reference.at(parse_source(source))
    assert (moved.tag, moved.digest) == (reference.tag, reference.digest)
    assert moved.name == f"{source}/{reference.repository}"
