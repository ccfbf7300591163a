"""Definitions: what they can say, and what is shown where they are wrong."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path

import pytest
import yaml

from pipeline.config.definition import load
from pipeline.config.settings import KEYS
from pipeline.core.bundle import Access, Architecture, ArtifactTypes, Bundle, Compression, PlatformFilter
from pipeline.core.errors import EXIT_OK, EXIT_USAGE, InputError
from tests.system.bundles.helpers import DODO, FILE, doit, image_tools, write
from tests.unit.config.broken import HOSTILE, LAUGHS, MERGES, NO_YAML, WRONG, Broken

AMD64, ARM64, ARM_V7 = Architecture("amd64"), Architecture("arm64"), Architecture("arm", "v7")


def read(text: str) -> dict[str, Bundle]:
    return {bundle.name: bundle for bundle in load(write(text)).bundles}


def only(text: str) -> Bundle:
    (bundle,) = read(text).values()
    return bundle


def sources(bundle: Bundle) -> list[str]:
    return [str(image.source) for image in bundle.images]


# What is wrong


@pytest.mark.parametrize("broken", [*NO_YAML, *WRONG], ids=lambda broken: broken.name)
def test_all_that_is_wrong_is_on_one_screen(broken: Broken, work: Path) -> None:
    write(broken.text)
    write("# nginx\nnginx:1.25\n", Path("list.txt"))
    write("Nginx\nredis\na b\n", Path("wrong.txt"))
    screen = textwrap.dedent(broken.screen).strip().replace("HERE", str(work))
    for command in (["bundle", "check", "bundle.yaml"], ["save", "-config", "bundle.yaml"]):
        result = image_tools(*command)
        assert result.stderr.splitlines() == f"image-tools: {screen}".splitlines()
        assert (result.code, result.stdout) == (EXIT_USAGE, "")
    assert not Path("saved-image-cache").exists(), "nothing was done"


@pytest.mark.parametrize(("text", "code"), [(LAUGHS, EXIT_USAGE), (MERGES, EXIT_OK)], ids=["aliases", "merge keys"])
def test_aliases_do_not_multiply(text: str, code: int) -> None:
    write(text)
    assert image_tools("bundle", "check", FILE).code == code, "and it ends"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_within_two_seconds(name: str) -> None:
    FILE.write_text(HOSTILE[name])
    started = time.process_time()
    result = image_tools("bundle", "check", FILE)
    assert time.process_time() - started < 6, "three times as long as it may take, for a slow machine with other work"
    assert result.code == EXIT_USAGE and result.stderr.startswith("image-tools: bundle.yaml")
    assert len(max(result.stderr.splitlines(), key=len)) < 1000


def test_a_list_elsewhere_is_not_shown_to_strangers(work: Path) -> None:
    """A definition from a pull request names any file of the machine that checks it."""
    write("root:secret-word:0\nnginx\nanother secret\n", Path("etc/shadow"))
    repository = work / "repository"
    (repository / ".git").mkdir(parents=True)
    (repository / "link.txt").symlink_to("../etc/shadow")
    for name in ("../../etc/shadow", "../link.txt", str(work / "etc/shadow")):
        path = write(f"bundles: {{demo: {{images: [{{list: {name}}}]}}}}", Path("repository/configs/bundle.yaml"))
        result = image_tools("bundle", "check", path)
        assert result.code == EXIT_USAGE and "secret" not in result.stderr
        lines = [line.rpartition(":")[0].rpartition(":")[2] for line in result.stderr.splitlines()]
        assert lines == ["1", "3"] and "this line is not an image" in result.stderr
        assert "secret-word" in image_tools("bundle", "check", "-debug", path).stderr
    write("Nginx\n", repository / "lists/wrong.txt")
    path = write("bundles: {demo: {images: [{list: ../lists/wrong.txt}]}}", Path("repository/configs/bundle.yaml"))
    assert "'Nginx'" in image_tools("bundle", "check", path).stderr, "in the repository it is shown"


def test_what_names_itself_ends() -> None:
    write(
        """
        bundles: &all
          one: &one {<<: *one, images: [nginx]}
          two: *all
          three: {images: &list [*list]}
        """
    )
    valid = f"valid are description, images, {', '.join(KEYS)}"
    assert image_tools("bundle", "check", FILE).stderr.splitlines() == [
        f"image-tools: bundle.yaml:2:3: unknown key 'one': {valid}",
        f"bundle.yaml:3:3: unknown key 'two': {valid}",
        "bundle.yaml:3:3: the bundle 'two' has no 'images:'",
        f"bundle.yaml:4:3: unknown key 'three': {valid}",
        "bundle.yaml:4:19: a text is needed here, not a list",
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"bundles: {caf\xe9: 1}\n", "bundle.yaml: the definition is not UTF-8 text; save it as UTF-8"),
        (None, "cannot read the bundle definition bundle.yaml: No such file or directory"),
    ],
)
def test_no_text(data: bytes | None, said: str) -> None:
    if data is not None:
        FILE.write_bytes(data)
    result = image_tools("bundle", "check", FILE)
    assert (result.code, result.stderr) == (EXIT_USAGE, f"image-tools: {said}\n")


def test_doit_shows_the_same_screen_and_no_traceback() -> None:
    broken = next(each for each in WRONG if each.name == "unknown keys")
    write(broken.text)
    write(broken.text.replace("demo", "other"), Path("other.yaml"))
    write(DODO, Path("dodo.py"))
    shown = doit(code=3).stderr
    assert shown.startswith("ERROR: bundle.yaml:1:1: unknown key 'default': did you mean 'defaults'?\n")
    assert "\nother.yaml:1:1: unknown key 'default'" in shown and "Traceback" not in shown


# What can be said


def test_every_setting(work: Path) -> None:
    Path("auth.json").touch()
    Path("certs").mkdir()
    for name in ("key", "one.receipt.json", "two.lock.yaml"):
        Path(name).touch()
    Path("policy.json").write_text('{"default": [{"type": "reject"}]}')
    text = """
        bundles:
          all:
            description: everything that can be set
            arch: [amd64, "arm64,arm/v7", 386]
            os: linux,windows
            source: mirror.example.com:5000/hub
            jobs: 7
            cache: cache
            destination: out/all.tar.zst
            compress: zstd
            compress-level: 12
            part-size: 3900M
            parity: 10%
            parity-blocks: 5000
            sign: key
            base: [one.receipt.json, two.lock.yaml]
            base-signers: key
            note: change 4711
            failed-list: out/failed.txt
            authfile: auth.json
            cert-dir: certs
            tls-verify: false
            retry: 9
            referrers: true
            referrer-types: [application/spdx+json, "application/vnd.dev.cosign.*"]
            require-signed: policy.json
            quota: wait
            via: skopeo
            images: [nginx:1.25]
        """
    assert set(yaml.safe_load(text)["bundles"]["all"]) == {"description", "images", *KEYS} - {"part"}
    bundle = only(text)
    (image,) = bundle.images
    architectures = (AMD64, ARM64, ARM_V7, Architecture("386"))
    assert image.platforms == PlatformFilter(architectures, ("linux", "windows"))
    assert str(image.source) == "mirror.example.com:5000/hub/library/nginx:1.25"
    assert (bundle.jobs, bundle.cache, bundle.failed_list) == (7, work / "cache", work / "out/failed.txt")
    output = bundle.output
    assert (output.compression, output.destination) == (Compression.ZSTD, work / "out/all.tar.zst")
    assert (output.level, output.part_size) == (12, 3900 * 1024**2)
    assert (output.parity, output.parity_blocks) == (10, 5000)
    assert (output.sign, output.note) == (work / "key", "change 4711")
    assert bundle.bases == (work / "one.receipt.json", work / "two.lock.yaml")
    assert bundle.access == Access(
        authfile=work / "auth.json",
        cert_dir=work / "certs",
        tls_verify=False,
        retries=9,
        policy=work / "policy.json",
        via="skopeo",
    )
    asked = ArtifactTypes(("application/spdx+json", "application/vnd.dev.cosign.*"))
    assert (bundle.referrers, image.referrers) == (asked, asked)
    assert bundle.lock_file == work / "all.lock.yaml"
    assert bundle.waits_for_quota


def test_defaults_are_those_of_the_flags_but_for_the_names(work: Path) -> None:
    bundle = only("bundles: {demo: {images: [nginx]}}")
    output = bundle.output
    assert (output.destination, bundle.failed_list) == (work / "demo.tar.gz", work / "demo-failed.txt")
    assert (bundle.jobs, bundle.cache, bundle.access) == (1, work / "saved-image-cache", Access())
    assert (output.compression, output.level, output.part_size) == (Compression.GZIP, None, None)
    assert bundle.images[0].platforms == PlatformFilter((AMD64, ARM64))


def test_entries_win_over_bundles_and_bundles_over_defaults() -> None:
    bundles = read(
        """
        defaults: {arch: amd64, source: mirror.example.com, part-size: 1G, jobs: 2}
        bundles:
          one:
            images: [nginx, {image: redis, arch: arm/v7, os: linux}, {image: quay.io/a/b, source: ""}]
          two: {images: [nginx], arch: all, jobs: 3, part: false}
          three: {images: [nginx], part-size: 2G, failed-list: f, cache: other, source: example.org}
        """
    )
    one, two, three = bundles.values()
    assert [image.platforms for image in one.images] == [
        PlatformFilter((AMD64,)),
        PlatformFilter((ARM_V7,), ("linux",)),
        PlatformFilter((AMD64,)),
    ]
    assert sources(one)[1:] == ["mirror.example.com/library/redis:latest", "quay.io/a/b:latest"]
    assert (one.output.part_size, two.output.part_size, three.output.part_size) == (1024**3, None, 2 * 1024**3)
    assert [each.jobs for each in (one, two, three)] == [2, 3, 2]
    assert two.images[0].platforms == PlatformFilter()


def test_lists_are_read_beside_the_definition_and_keep_their_place(work: Path) -> None:
    write("# first\nredis\n\nnginx\nredis\n", Path("deep/lists/images.txt"))
    text = "bundles: {demo: {images: [busybox, {list: lists/images.txt, arch: arm64}, alpine], destination: ../out.tar.gz}}"
    (bundle,) = load(write(text, Path("deep/bundle.yaml"))).bundles
    assert [(image.text, image.m_id) for image in bundle.images] == [("busybox", 1), ("redis", 2), ("nginx", 3), ("alpine", 4)]
    assert [image.platforms.architectures for image in bundle.images][1:3] == [(ARM64,), (ARM64,)]
    assert bundle.output.destination == work / "out.tar.gz"
    assert bundle.cache == work / "deep/saved-image-cache"


def test_home(tmp_path: Path) -> None:
    bundle = only("bundles: {demo: {images: [nginx], destination: ~/demo.tar.gz, cache: ~/cache}}")
    assert (bundle.output.destination, bundle.cache) == (tmp_path / "home/demo.tar.gz", tmp_path / "home/cache")


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
        environment: {MIRROR: "", JOBS: "2", TLS: "true", LIST: list, OUT:}
        defaults: {source: "${MIRROR}", jobs: "${JOBS}", tls-verify: "${TLS}", destination: "${OUT}/x.tar.gz"}
        bundles:
          demo: {images: [{list: "${LIST}.txt"}, "redis:${JOBS}"]}
        """
    write("nginx\n", Path("list.txt"))
    with pytest.raises(InputError, match=r"bundle.yaml:1:63: the environment variable OUT is not set, and has no default here"):
        read(text)
    monkeypatch.setenv("OUT", "/out")
    first = only(text)
    assert sources(first) == ["docker.io/library/nginx:latest", "docker.io/library/redis:2"]
    assert (first.jobs, first.access.tls_verify, str(first.output.destination)) == (2, True, "/out/x.tar.gz")
    for name, value in {"MIRROR": "mirror.example.com", "JOBS": "4", "TLS": "False"}.items():
        monkeypatch.setenv(name, value)
    second = only(text)
    assert sources(second) == ["mirror.example.com/library/nginx:latest", "mirror.example.com/library/redis:4"]
    assert (second.jobs, second.access.tls_verify) == (4, False)
    monkeypatch.setenv("JOBS", "many")
    with pytest.raises(InputError, match=r"'jobs' is a whole number or auto, not 'many', which is what \$\{JOBS\} stands for"):
        read(text)


def test_anchors_and_merge_keys() -> None:
    bundles = read(
        """
        bundles:
          one: &one
            arch: arm64
            jobs: 3
            images: &images [nginx, redis]
          two:
            <<: *one
            jobs: 4
          three: {<<: [{jobs: 5, failed-list: f}, *one], images: *images}
        """
    )
    assert [bundle.jobs for bundle in bundles.values()] == [3, 4, 5]
    assert {len(bundle.images) for bundle in bundles.values()} == {2}
    assert {bundle.images[0].platforms for bundle in bundles.values()} == {PlatformFilter((ARM64,))}


def test_a_byte_order_mark_and_windows_lines() -> None:
    FILE.write_bytes(b"\xef\xbb\xbfbundles:\r\n  demo:\r\n    images: [nginx]\r\n")
    assert [bundle.name for bundle in load(FILE).bundles] == ["demo"]


def test_one_warning_for_an_architecture_that_looks_wrong() -> None:
    write("defaults: {arch: amd46}\nbundles:\n  one: {images: [nginx, redis, busybox]}\n  two: {images: [nginx]}\n")
    assert image_tools("bundle", "check", FILE).stderr.count("amd46") == 1


# Flags over a definition

NOT_CUT = "makes a folder, which is not cut into volumes\nTIP: use gzip or zstd, or no volumes"
TWO = """
    defaults: {jobs: 2, part-size: 1G}
    bundles:
      one: {images: [nginx, {image: redis, arch: arm64}], destination: one.tgz}
      two: {images: [nginx]}
    """


def test_flags_win_and_touch_only_the_bundles_that_are_asked_for(work: Path) -> None:
    overrides = {"arch": "amd64", "destination": "/elsewhere.tar.gz", "jobs": 9, "part": False}
    one, two = load(write(TWO), overrides, ("one",)).bundles
    assert (one.jobs, one.output.destination, one.output.part_size) == (9, Path("/elsewhere.tar.gz"), None)
    assert {image.platforms for image in one.images} == {PlatformFilter((AMD64,))}
    assert (two.jobs, two.output.destination, two.output.part_size) == (2, work / "two.tar.gz", 1024**3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-d", "x.tar.gz"], "-d: it names one file, but there are several bundles\nTIP: choose one with -bundle"),
        (["-o", "x.txt"], "-o: it names one file, but there are several bundles\nTIP: choose one with -bundle"),
        (["-bundle", "three,one"], "bundle.yaml has no bundle three; it has one, two"),
        (["-compress=tar"], '-compress: invalid value "tar": use one of gzip, zstd, dir'),
        (
            ["-compress=dir"],
            "-compress: dir makes a folder, which is not cut into volumes\nTIP: use gzip or zstd, or no volumes",
        ),
        (["-cert-dir", "x"], "-cert-dir: {here}/x: there is no such folder"),
        (["-f", "list.txt"], "-f and -config exclude each other: the definition says what is in the bundle"),
        (["-lock", "-locked"], "-lock and -locked exclude each other: a lock says what a save found and saved"),
        (["-lock", "-dry-run"], "-lock and -dry-run exclude each other: a lock says what a save found and saved"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_with_flags_is_said_of_flags(arguments: list[str], said: str, work: Path) -> None:
    write(TWO)
    result = image_tools("save", "-config", FILE, *arguments)
    assert (result.code, result.stderr) == (EXIT_USAGE, f"image-tools: {said.format(here=work)}\n")


def test_show_is_a_definition_of_the_same_bundles() -> None:
    write("redis\nquay.io/a/b:1\n", Path("list.txt"))
    Path("certs").mkdir()
    original = write(
        """
        environment: {MIRROR: mirror.example.com/hub}
        defaults: {source: "${MIRROR}", cert-dir: certs, jobs: 3, os: linux}
        bundles:
          one:
            description: 'the "first": ✓'
            part-size: 5M
            images: [nginx, {list: list.txt, arch: [arm/v7, amd64]}, {image: "a/b@sha256:%s", source: "", arch: all}]
          two: {images: [{image: nginx, os: windows}], compress: dir, retry: 0, tls-verify: false}
        """
        % ("0" * 64)
    )
    shown = image_tools("bundle", "show", original)
    assert shown.code == 0, shown
    again = Path("again.yaml")
    again.write_text(shown.stdout)
    first, second = load(original), load(again)
    assert second.descriptions == first.descriptions == {"one": 'the "first": ✓'}
    for a, b in zip(first.bundles, second.bundles, strict=True):
        assert (a.name, a.cache, a.output, a.failed_list, a.access, a.jobs, a.lock_file) == (
            b.name, b.cache, b.output, b.failed_list, b.access, b.jobs, b.lock_file,
        )  # fmt: skip
        for mine, theirs in zip(a.images, b.images, strict=True):
            assert (mine.reference, mine.source, mine.platforms) == (theirs.reference, theirs.source, theirs.platforms)
    assert list(yaml.safe_load(image_tools("bundle", "show", "-config", original, "two").stdout)["bundles"]) == ["two"]
