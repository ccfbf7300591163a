"""What a save tells: the plan, the log, the summary; and what it never tells."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from pipeline.ui.terminal import summary
from tests.support.images import image, index, layer
from tests.support.kinds import push_kind
from tests.support.proxy import FaultProxy, Slow, Stall
from tests.support.push import PushedImage, push
from tests.support.registry import PASSWORD, Registry
from tests.support.run import COMMAND, run, spawn
from tests.system.save.saving import (
    ARCHIVE,
    CACHE,
    FAILED,
    LIST,
    PLAIN,
    cached,
    files_below,
    identity,
    layer_gets,
    lines,
    prepared,
    save,
    saved,
    spawn_save,
    write_list,
)

LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (DEBUG|INFO |WARN |ERROR) (?:\[M_ID:(\d+)\] )?(?:\[IMG_ID:(\d+)\] )?(.*)")


@pytest.fixture(scope="session")
def images(registry: Registry) -> list[PushedImage]:
    return [push_kind(registry, kind, f"telling/{kind}") for kind in ("oci-index", "docker-list", "arm-variants")]


def log_lines(text: str) -> list[re.Match[str]]:
    """The log, of which every line but the continued ones has the documented form."""
    matches = [LINE.fullmatch(line) for line in text.splitlines() if not line.startswith("    ")]
    assert matches
    assert None not in matches, text
    return [match for match in matches if match]


# The plan


def test_a_dry_run_fetches_no_layer(registry: Registry, images: list[PushedImage]) -> None:
    missing = f"{registry.host}/none/one:1"
    registry.clear_requests()
    result = save([*images, missing], "-dry-run", "-a", "amd64,arm64,arm")
    assert result.code == 1
    assert layer_gets(registry, *images) == []
    assert not ARCHIVE.exists()
    assert not FAILED.exists()
    layers = [each.layers for image in images for each in image.platforms if each.platform.architecture != "s390x"]
    assert not any(cached(layer).exists() for each in layers for layer in each)
    assert re.search(r"^images +3$", result.stdout, re.MULTILINE)
    assert re.search(r"^image/arches +7$", result.stdout, re.MULTILINE)
    objects = {
        digest: len(image.contents[digest])
        for image in images
        for each in image.platforms
        if each.platform.architecture != "s390x"
        for digest in each.closure
    }
    # With the indexes of the images.
    assert re.search(
        rf"^blobs +{len(objects) + len(images)}, {sum(objects.values()) / 1000:.1f} kB", result.stdout, re.MULTILINE
    )
    to_fetch = sum(size for digest, size in objects.items() if not cached(digest).exists())
    assert re.search(rf"^to fetch +{to_fetch / 1000:.1f} kB$", result.stdout, re.MULTILINE)
    assert re.search(r"^disk +\S+ MB needed, \S+ \S+ free at ", result.stdout, re.MULTILINE)
    table, _, failed = result.stdout.partition("would fail 1:")
    assert missing in failed and missing not in table
    head = next(line for line in table.splitlines() if line.startswith("IMAGE"))
    assert head.split() == ["IMAGE", "PLATFORMS", "SIZE", "TO", "FETCH"]
    for each in images:
        row = rf"^{re.escape(each.reference)} +[a-z0-9 /]+  +[0-9.]+ kB +([0-9.]+ k?B|here)$"
        assert re.search(row, table, re.MULTILINE), table


def test_the_plan_for_programs(images: list[PushedImage]) -> None:
    result = save(images, "-dry-run", "-json", "-a", "amd64,arm64,arm")
    document = json.loads(result.stdout)
    assert [each["image"] for each in document["images"]] == [each.reference for each in images]
    assert document["toFetch"] <= document["size"] and document["disk"] and document["failed"] == {}
    refused = save(images, "-json")
    assert refused.code == 2 and "-json: it goes with -dry-run" in refused.stderr


def test_a_dry_run_after_a_save_finds_nothing_to_do(registry: Registry, images: list[PushedImage]) -> None:
    prepared(images)
    before = identity(ARCHIVE), files_below(CACHE)
    registry.clear_requests()
    result = save(images, "-dry-run")
    assert result.code == 0
    assert re.search(r"^to fetch +0 B$", result.stdout, re.MULTILINE)
    assert registry.blob_gets == []
    assert (identity(ARCHIVE), files_below(CACHE)) == before
    assert "unchanged" in saved(images).stdout


# The log


def test_every_line_has_time_level_and_the_image_it_is_about(registry: Registry, images: list[PushedImage]) -> None:
    missing = f"{registry.host}/none/one:1"
    listed: list[PushedImage | str] = [images[0], missing, *images[1:]]
    before = time.strftime("%Y-%m-%d %H:%M:%S")
    result = save(listed, "-j", "5", "-a", "amd64,arm64,arm", "-debug")
    after = time.strftime("%Y-%m-%d %H:%M:%S")
    references = {str(number): image for number, image in enumerate(lines(listed).split(), start=1)}
    seen: dict[str, set[str]] = {}
    for match in log_lines(result.stderr):
        when, _, m_id, img_id, message = match.groups()
        assert before <= when <= after
        about = [number for number, reference in references.items() if re.search(rf"{re.escape(reference)}\b", message)]
        # What becomes of a task is said by its name, which holds the reference.
        if about and not message.startswith(("resolve:", "copy:", "index:")):
            assert [m_id] == about, match[0]
        if m_id:
            seen.setdefault(m_id, set()).add(img_id)
    assert {m_id: len(img_ids - {None}) for m_id, img_ids in seen.items()} == {"1": 2, "2": 0, "3": 2, "4": 3}
    copies = [match for match in log_lines(result.stderr) if match[5].startswith(("copying", "copied"))]
    assert len(copies) == 14
    for match in copies:
        number, place = int(match[3]) - 1, int(match[4]) - 1
        image = listed[number]
        assert isinstance(image, PushedImage)
        wanted = [str(each.platform) for each in image.platforms if each.platform.architecture != "s390x"]
        assert f" {wanted[place]}" in match[5]


def test_debug_shows_each_command_and_request_with_its_time(registry: Registry, images: list[PushedImage]) -> None:
    quiet = saved(images[:1], "-d", "quiet.tar.gz", "-cache", "quiet")
    assert "skopeo" not in quiet.stderr
    assert "DEBUG" not in quiet.stderr
    result = saved(images[:1], "-debug")
    commands = [match[5] for match in log_lines(result.stderr) if match[5].startswith("skopeo ")]
    assert all(re.search(r": exit 0, \d+\.\d\d s$", command) for command in commands)
    assert sum(" copy --quiet " in command for command in commands) in (1, 2)  # the two platforms may share one
    assert not any(images[0].host in command for command in commands)
    requests = [match[5] for match in log_lines(result.stderr) if re.match(r"(GET|HEAD) http", match[5])]
    assert all(re.search(r": \d\d\d, \d+\.\d\d s$", request) for request in requests)
    assert sum(f"/manifests/{images[0].tag}: 200" in request and request.startswith("GET ") for request in requests) == 1


def test_a_failing_request_is_in_the_debug_log(registry: Registry) -> None:
    result = save([f"{registry.host}/none/one:1"], "-debug")
    assert re.search(r"DEBUG .*GET http://\S+/v2/none/one/manifests/1: 404, ", result.stderr)


def test_no_control_character_reaches_a_terminal(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform is text that a registry chose."""
    wicked = index(image("linux/amd64", [layer("wicked/1")]), image("lin\x1b[31mux/mi\nps", [layer("wicked/2")]))
    pushed = push(registry, "telling/wicked", "v1", wicked)
    for arguments in (["-a", "all", "-debug"], ["-a", "s390x"]):
        result = save([pushed], *arguments)
        assert result.code == (0 if "all" in arguments else 3), result
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", result.stdout + result.stderr)
        log_lines(result.stderr)


# Secrets


def command_lines(text: str) -> set[str]:
    """Arguments of all processes of which one holds ``text``."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in arguments:
            found.add(arguments)
    return found


def test_a_password_is_in_no_process_arguments(login_registry: Registry) -> None:
    pushed = push_kind(login_registry, "oci-index", "telling/secret")
    login_registry.auth_file(Path("logins"))
    # With -via skopeo, as no other program is given the login otherwise.
    arguments = ("-authfile", "logins/config.json", "-cert-dir", login_registry.cert_dir, "-debug", "-via", "skopeo")
    with spawn("save", "-f", write_list([pushed]), *arguments) as running:
        seen: set[str] = set()
        while running.running:
            seen |= command_lines(login_registry.host)
        result = running.wait()
    assert result.code == 0, result
    assert any("skopeo" in each for each in seen)
    assert not any(PASSWORD in each for each in seen)
    assert PASSWORD not in result.stdout + result.stderr


# The summary


def test_the_summary(registry: Registry, images: list[PushedImage]) -> None:
    result = saved(images[:2])
    size = ARCHIVE.stat().st_size
    assert "saved 2 of 2 images: 4 image/arches" in result.stdout
    assert f"saved-images.tar.gz  {size / 1000:.1f} kB  sha256:" in result.stdout
    assert "check with: sha256sum -c saved-images.tar.gz.sha256" in result.stdout
    platforms = [each for image in images[:2] for each in image.platforms[:2]]
    # A config comes with the layers, but for that of a Docker image, which a copy would change.
    parts = [(each, {*each.fetched_layers, *({each.config} if "oci" in each.media_type else ())}) for each in platforms]
    fetched = sum(each.sizes[digest] for each, digests in parts for digest in digests)
    once = sum({digest: each.sizes[digest] for each, digests in parts for digest in digests}.values())
    assert once < fetched
    assert f"fetched {once / 1000:.1f} kB" in result.stdout


def test_output_that_nobody_reads(images: list[PushedImage]) -> None:
    """``image-tools save … | head -1``: the bundle is made all the same."""
    write_list(images)
    script = f'{{ "$@" save -f {LIST} {PLAIN}; echo $? > code; }} 2> errors | head -c 0'
    run("-c", script, "sh", *COMMAND, command=("sh",))
    assert ARCHIVE.exists()
    assert "Traceback" not in Path("errors").read_text()
    assert Path("code").read_text().strip() in ("0", "3")


def test_progress_while_it_runs(proxy: FaultProxy, images: list[PushedImage]) -> None:
    """A log line says what is being copied, before it has arrived."""
    digest = images[0].platforms[0].layers[0]
    proxy.fault(digest, Slow(10_000))
    with spawn_save([images[0].via(proxy.host)]) as running:
        proxy.wait_for(digest)
        running.wait_for("copying")
        assert "copied" not in running.stderr
        proxy.release()
        assert running.wait().code == 0


def test_the_plan_tells_of_one_job(registry: Registry, images: list[PushedImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """By how long act 1 waited for answers, where that makes minutes; other numbers of jobs have no such line."""
    monkeypatch.setattr(summary, "MINUTES", 0.01)
    with FaultProxy(registry.host) as proxy:
        proxy.fault("/manifests/", Stall(0.05, -1), times=None)
        names = [image.via(proxy.host) for image in images[:2]]
        slow = saved(names, "-j", "1", "-dry-run")
        assert "for answers" not in slow.stdout + slow.stderr
        slow = saved(names, "-j", "1")
        assert re.search(r"plan: .* · -j 1 waits \d\.\d s for answers, -j auto a tenth of it\n", slow.stderr), slow
        assert "for answers" not in saved(names, "-j", "2", "-cache", "other", "-d", "other.tar.gz").stderr
