"""Plan, summary, and who worked when."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.acts.engine import Status, TaskResult
from pipeline.acts.progress import Tracker
from pipeline.acts.save.plan import Need, Plan
from pipeline.core import bundle, image_list
from pipeline.core.amounts import bytes_text, duration_text
from pipeline.core.bundle import Bundle, BundleImage, Compression, Output, PlatformFilter
from pipeline.storage.records.packed import PackedFile
from pipeline.ui import terminal
from pipeline.ui.terminal.text import kind_text

PLAN = Plan(images=3, platforms=6, blobs=20, total=12_000_000, here=2_000_000, shared=5_000_000)


def images(count: int) -> tuple[BundleImage, ...]:
    data = "".join(f"r.io/a/b:{number}\n" for number in range(count)).encode()
    return bundle.images(image_list.parse(data, "list"), "", PlatformFilter())


def summary(**changes: object) -> terminal.Summary:
    here = Path.cwd()
    output = Output(compression=Compression.GZIP, destination=here / "saved.tar.gz")
    order = Bundle(name="b", images=images(3), cache=here / "cache", output=output, failed_list=here / "failed.txt")
    seconds = {"resolving": 1.0, "copying": 100.0, "packing": 4.0}
    packed = (PackedFile("", str(output.destination), 12_100_000, 0, "a" * 64),)
    made = terminal.Summary(
        bundle=order,
        saved=3,
        reused=1,
        plan=PLAN,
        failures={},
        fetched=10_000_000,
        seconds=seconds,
        repacked=True,
        files=packed,
        kept=None,
        report=None,
        how_to_go_on="go on",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_summary(summary(report=Path.cwd() / "r.html"))
    assert (
        capsys.readouterr().out
        == f"""
saved 3 of 3 images: 6 image/arches, 12.0 MB (5.0 MB saved by sharing)
resolved 3 images in 1.0 s
fetched 10.0 MB in 2 min 0 s, 100.0 kB/s
reused 1 image, 2.0 MB here already
packed 12.0 MB in 4.0 s, 3.0 MB/s

written:
  saved.tar.gz  12.1 MB  sha256:{"a" * 64}
check with: sha256sum -c saved.tar.gz.sha256
report: r.html
next, on the other side: image-tools load -s saved.tar.gz -d REGISTRY
""".replace("2 min 0 s", duration_text(100))
    )


def test_verified(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = {"resolving": 1.0, "packing": 0.1, "verifying": 4.0}
    terminal.print_summary(summary(repacked=False, seconds=seconds, verified=12_100_000))
    out = capsys.readouterr().out
    assert "\nverified 12.1 MB in 4.0 s, 3.0 MB/s: all is as it was written\n\nunchanged since the last run:\n" in out
    assert "packed" not in out
    terminal.print_summary(summary())
    assert "verified" not in capsys.readouterr().out


def test_failures_for_one_reason_are_told_together(capsys: pytest.CaptureFixture[str]) -> None:
    some = images(200)
    failures = dict.fromkeys(some[:12], "network error: refused\nTIP: x") | {some[150]: "not found"}
    terminal.print_summary(summary(failures=failures))
    out = capsys.readouterr().out
    assert "failed 13, listed in failed.txt:\n  12 images: network error: refused\n      TIP: x\n      r.io/a/b:0\n" in out
    assert "      and 7 more\n  r.io/a/b:150: not found\n" in out
    assert out.endswith("go on\n")


def test_many_failures_do_not_flood_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_failures(terminal.failures_of({image: f"reason {image.m_id}" for image in images(2000)}))
    out = capsys.readouterr().out
    assert out.endswith("  and 1970 more\n")
    assert len(out.splitlines()) == 31


def test_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    needs = (Need(Path("/big"), 10, 20), Need(Path("/small"), 20, 10))
    terminal.print_plan(PLAN, needs)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "disk               10 B needed, 20 B free at /big",
        "disk               20 B needed, 10 B free at /small   NOT ENOUGH",
    ]
    assert terminal.plan_line(PLAN, needs[:1]) == (
        "plan: 10.0 MB to fetch · 3 images (6 platforms) · 2.0 MB here already · 5.0 MB shared · 10 B of 20 B free at /big"
    )
    assert terminal.plan_line(replace(PLAN, waits=59.0), ()).endswith(" · 5.0 MB shared")
    assert terminal.plan_line(replace(PLAN, waits=125.0), ()).endswith(
        " · -j 1 waits 2 min 5 s for answers, -j auto a tenth of it"
    )


@pytest.mark.parametrize(
    "seconds, text", [(0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (125, "2 min 5 s"), (3600, "60 min"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


SIZES = [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_400_000, "999.4 MB"), (10**13, "10.0 TB"), (1 << 60, "1.2 EB")]


@pytest.mark.parametrize("size, text", SIZES)
def test_sizes(size: int, text: str) -> None:
    assert bytes_text(size) == text


def test_who_worked_when() -> None:
    tracker = Tracker(lambda blob: False)
    tracker.begin("copying", 3, 0, "copy")

    def worker(task: str) -> None:
        tracker.started(task)
        tracker.credit(task, 7)

    for task in ("copy:a", "copy:b"):
        thread = threading.Thread(target=worker, args=(task,))
        thread.start()
        thread.join()
    tracker.started("copy:c")
    tracker.started("index:c")  # by the same worker, before the engine hears that the first has ended
    for task, status in (("copy:a", Status.DONE), ("copy:b", Status.FAILED), ("copy:c", Status.DONE), ("index:c", Status.DONE)):
        tracker.finished(task, TaskResult(status))
    tracker.finished("copy:here", TaskResult(Status.UP_TO_DATE))
    tracker.end()
    spans = {span.task: span for span in tracker.history}
    assert set(spans) == {"copy:a", "copy:b", "copy:c", "index:c"}
    assert spans["copy:a"].size == 7
    assert spans["copy:b"].status is Status.FAILED
    assert spans["copy:c"].worker == spans["index:c"].worker
    assert spans["copy:c"].end == spans["index:c"].start
    assert set(tracker.seconds) == {"copying"}


@pytest.mark.parametrize(
    "artifact_type, predicate, word",
    [
        ("application/vnd.dev.cosign.artifact.sig.v1+json", "", "signature"),
        ("application/vnd.dev.sigstore.bundle.v0.3+json", "https://sigstore.dev/cosign/sign/v1", "signature"),
        ("application/vnd.dev.sigstore.bundle.v0.3+json", "https://slsa.dev/provenance/v1", "attestation"),
        ("application/vnd.dev.sigstore.bundle.v0.3+json", "https://spdx.dev/Document/v2.3", "SBOM"),
        ("application/vnd.dev.sigstore.bundle.v0.3+json", "https://cyclonedx.org/bom", "SBOM"),
        ("application/vnd.dev.sigstore.bundle.v0.3+json", "", "application/vnd.dev.sigstore.bundle.v0.3+json"),
        ("application/x", "https://spdx.dev/Document", "application/x"),
    ],
)
def test_words_for_what_refers_to_an_image(artifact_type: str, predicate: str, word: str) -> None:
    assert kind_text(artifact_type, predicate) == word


def test_what_fails_by_name_is_grouped_and_not_to_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    def image(name: str) -> BundleImage:
        (line,) = image_list.parse(name.encode(), "list.txt")
        return bundle.image(line, 1, "", PlatformFilter())

    missing = {image(f"r.io/a/b:{number}"): f"not found: the registry has no r.io/a/b:{number}" for number in range(7)}
    denied = {image(f"q.io/a/b:{number}"): f"access denied: to a/b:{number}\nTIP: log in" for number in range(2)}
    terminal.print_failures(terminal.failures_of({**missing, **denied}))
    assert capsys.readouterr().out.splitlines() == [
        *("  not found on r.io (7):", *(f"      r.io/a/b:{number}" for number in range(5)), "      and 2 more"),
        *("  access denied on q.io (2):", "      TIP: log in", "      q.io/a/b:0", "      q.io/a/b:1"),
    ]


@pytest.mark.parametrize("kind", ["access denied", "too many requests"])
def test_what_says_first_what_could_not_be_asked_for_is_grouped_too(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    reason = "q.io/a/b:{0} cannot be asked for: {1} (status)\nTIP: later"
    terminal.print_failures(
        [terminal.Failure(f"q.io/a/b:{number}", "q.io", reason.format(number, kind)) for number in range(2)]
    )
    assert capsys.readouterr().out.splitlines() == [
        f"  {kind} on q.io (2):",
        "      TIP: later",
        "      q.io/a/b:0",
        "      q.io/a/b:1",
    ]


FINAL = (
    "not found: x",
    "access denied: x",
    "r.io: bad certificate: x",
    "r.io answers with plain HTTP where",
    "r.io: the name does not resolve (x)",
)


@pytest.mark.parametrize("reason", FINAL)
def test_what_cannot_help_is_not_advised(reason: str) -> None:
    assert terminal.how_to_go_on([terminal.Failure("a", "r.io", reason)], "again").startswith("These fail again until")
    passing = terminal.Failure("b", "r.io", "network error: reset")
    assert terminal.how_to_go_on([terminal.Failure("a", "r.io", reason), passing], "again") == "again"
