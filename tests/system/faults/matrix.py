"""The fault matrix: what a registry does wrong × at which request × how often, all in one save, then a clean rerun.

Every case has an image and a registry of its own (a proxy before the one real registry), so that what is held back or given
up for one says nothing about another. Limits and pauses of the program are cut short while it runs.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.registry import retry as attempts
from pipeline.registry import session, throttle
from pipeline.registry.http import client as http
from pipeline.registry.skopeo import client as skopeo
from pipeline.ui.terminal import summary
from tests.support.images import image, index, layer
from tests.support.proxy import (
    ExpiredToken,
    Fault,
    FaultProxy,
    NoRange,
    Redirect,
    Replaced,
    Reset,
    Stall,
    Status,
    Truncate,
    WrongBytes,
    WrongRange,
)
from tests.support.push import PushedImage, push
from tests.support.registry import Registry
from tests.support.run import Result
from tests.system.save.saving import ARCHIVE, CACHE, FAILED, Unpacked, inside, save, temporary_files, unpack

RETRIES = 2
LIMIT = 2.5
"""Seconds of silence after which the program gives up here."""
FOREVER: None = None

FAULTS: dict[str, Fault] = {
    "401": Status(401),
    "403": Status(403),
    "404": Status(404),
    "429": Status(429, retry_after=0),
    "500": Status(500),
    "502": Status(502),
    "503": Status(503),
    "504": Status(504),
    "reset before the head": Reset(-1),
    "reset in the body": Reset(20),
    "truncated": Truncate(20),
    "wrong bytes": WrongBytes(0),
    "silence before the head": Stall(600, -1),
    "silence in the body": Stall(600, 20),
    "redirect to a dead host": Redirect("http://127.0.0.1:9/gone"),
    "quota 429": Status(429, text="toomanyrequests: You have reached your pull rate limit."),
    "206 wrong range": WrongRange(7),
    "200 instead of 206": NoRange(),
    "replaced in mid-blob": Replaced(),
    "token expiry in mid-blob": ExpiredToken(),
}
BEFORE: dict[str, tuple[Fault, ...]] = {
    "206 wrong range": (Truncate(20),),
    "200 instead of 206": (Truncate(20),),
    "replaced in mid-blob": (Truncate(20),),
    "token expiry in mid-blob": (ExpiredToken(), Truncate(20)),
}
"""What strikes first, once each: the fault then meets the request that is to go on."""
MOMENTS = ("ping", "tag", "manifest", "config", "layer")
TIMES: tuple[int | None, ...] = (1, 2, FOREVER)

_ATTEMPTS = {
    "quota 429": 1,  # asking again would cost what there is none of
    # What is begun anew asks for no range, which the fault leaves alone.
    "206 wrong range": 2,
    "200 instead of 206": 1,
    "replaced in mid-blob": 2,
    "token expiry in mid-blob": 4,  # a token that is refused is asked for anew, once an attempt
}
_MOMENTS = {"redirect to a dead host": ("config", "layer"), "quota 429": ("tag", "manifest")}

_REASONS = {
    "401": ("access denied",),
    "403": ("access denied",),
    "404": ("not found",),
    "429": ("too many requests",),
    "reset before the head": ("network error",),
    "reset in the body": ("network error",),
    "truncated": ("network error",),
    "wrong bytes": ("do not match", "no valid JSON", "not valid JSON"),
    "silence before the head": ("no data came any more",),
    "silence in the body": ("no data came any more",),
    "redirect to a dead host": ("cannot be reached",),
    "quota 429": ("is used up",),
    "token expiry in mid-blob": ("access denied",),
}


@dataclass(frozen=True)
class Case:
    """``times`` is None for ever."""

    fault: str
    moment: str
    times: int | None

    def __str__(self) -> str:
        return f"{self.fault}, {self.moment}, {self.times or 'for ever'}"

    @property
    def repository(self) -> str:
        words = str(self).replace(",", "").split()
        return "matrix/" + "-".join(words)

    @property
    def is_possible(self) -> bool:
        """A ping's body means nothing, and its 401 only says that there are logins."""
        if self.fault in BEFORE:
            return self.moment == "layer"
        if self.fault in _MOMENTS:
            return self.moment in _MOMENTS[self.fault]
        bodily = ("reset in the body", "truncated", "wrong bytes", "silence in the body")
        return self.moment != "ping" or self.fault not in ("401", *bodily)

    @property
    def can_pass(self) -> bool:
        """Whether the fault is one that is tried again."""
        return self.fault not in ("401", "403", "404")

    @property
    def attempts(self) -> int:
        """How often the program tries, or would."""
        if (self.fault, self.moment) == ("403", "ping"):
            return 2  # then for a repository, as some registries let nobody in at the door
        if self.fault in _ATTEMPTS:
            return _ATTEMPTS[self.fault]
        if not self.can_pass:
            return 1
        if self.fault == "wrong bytes":
            # Of a tag each time once more, at once: to tell wrong bytes from a header that is wrong about them.
            return 4 if self.moment == "tag" else 2
        return RETRIES + 1

    @property
    def most(self) -> int:
        """How many requests may meet the fault: a kept connection that is reset may have been closed long ago."""
        return 2 * self.attempts if self.fault == "reset before the head" else self.attempts

    @property
    def succeeds(self) -> bool:
        if (self.fault, self.moment) == ("404", "ping"):
            return True  # some registries have nothing there
        if self.fault in BEFORE and self.fault != "token expiry in mid-blob":
            return True
        return self.times is not None and self.times < self.attempts

    @property
    def reasons(self) -> tuple[str, ...]:
        """One of them is in the summary when it fails."""
        return _REASONS.get(self.fault, ("server error",))


def cases(
    faults: Sequence[str] = tuple(FAULTS), moments: Sequence[str] = MOMENTS, times: Sequence[int | None] = TIMES
) -> list[Case]:
    found = (Case(*combination) for combination in itertools.product(faults, moments, times))
    return [case for case in found if case.is_possible]


@dataclass(frozen=True)
class Verdict:
    """What became of a case. ``problem`` is empty when all was as it must be."""

    case: Case
    saved: bool
    requests: int
    problem: str


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Pauses and limits of the program, cut short; every failure is shown by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempts, "MAX_PAUSE", 0.05)
        patch.setattr(skopeo, "POLL", 0.1)
        patch.setattr(http, "FIRST_BYTE_TIME", LIMIT)
        patch.setattr(http, "NEXT_BYTE_TIME", LIMIT)
        patch.setattr(http, "SMALL_ANSWER_TIME", LIMIT)
        patch.setattr(session, "SMALL_ANSWER_TIME", LIMIT)
        patch.setattr(skopeo, "STALL_TIMEOUT", LIMIT)
        patch.setattr(throttle, "NOTABLE", 1000.0)
        patch.setattr(summary, "MAX_FAILURES", 1000)
        patch.setattr(summary, "FEW", 1000)
        yield


@dataclass
class Outcome:
    first: Result
    second: Result
    verdicts: list[Verdict]


def run_matrix(registry: Registry, wanted: Sequence[Case], jobs: int = 8) -> Outcome:
    """Save all cases' images at once, faults on; then again, faults off. Works in the current folder, which is empty."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(impatient())
        proxies = {case: stack.enter_context(FaultProxy(registry.host)) for case in wanted}
        images = {case: _push(registry, case) for case in wanted}
        names = [images[case].via(proxies[case].host) for case in wanted]
        # What the archive is without any fault, from another cache.
        with inside(Path("undisturbed")):
            assert save(names, "-j", "8").code == 0
            undisturbed = ARCHIVE.read_bytes()
        for case in wanted:
            proxies[case].clear()
            for fault in BEFORE.get(case.fault, ()):
                proxies[case].fault(_path(case, images[case]), fault, times=1, method="GET")
            proxies[case].fault(_path(case, images[case]), FAULTS[case.fault], times=case.times, method="GET")
        first = save(names, "-j", str(jobs), "-retry", str(RETRIES))
        failed = FAILED.read_text().splitlines() if FAILED.exists() else []
        bundle = unpack() if ARCHIVE.exists() else None
        arrived = {path.name for path in (CACHE / "share" / "sha256").iterdir()}
        counts = {case: _struck(proxies[case]) - len(BEFORE.get(case.fault, ())) for case in wanted}
        for proxy in proxies.values():
            proxy.clear()
        second = save(names, "-j", str(jobs))
        verdicts = [
            Verdict(
                case,
                name not in failed,
                counts[case],
                _problem(case, images[case], name, first, name in failed, counts[case], bundle)
                or _problem_after(images[case], proxies[case], arrived),
            )
            for case, name in zip(wanted, names, strict=True)
        ]
        assert second.code == 0, second
        assert ARCHIVE.read_bytes() == undisturbed, "as without any fault"
        assert not temporary_files(Path())
        return Outcome(first, second, verdicts)


def _push(registry: Registry, case: Case) -> PushedImage:
    layers = [layer(f"{case.repository}/one", 2000), layer(f"{case.repository}/two", 3000)]
    return push(registry, case.repository, "v1", index(image("linux/amd64", layers)))


def _path(case: Case, pushed: PushedImage) -> str:
    only = pushed.platforms[0]
    return {
        "ping": "^/v2/$",
        "tag": "/manifests/v1$",
        "manifest": f"/manifests/{only.manifest}$",
        "config": f"/blobs/{only.config}$",
        "layer": f"/blobs/{only.layers[0]}$",
    }[case.moment]


def _struck(proxy: FaultProxy) -> int:
    return sum(seen.fault is not None for seen in proxy.requests)


def _problem(
    case: Case, pushed: PushedImage, name: str, first: Result, failed: bool, struck: int, bundle: Unpacked | None
) -> str:
    """What is wrong about how the first save dealt with a case."""
    if failed == case.succeeds:
        return f"it {'failed' if failed else 'was saved'}"
    expected = min(case.times or case.attempts, case.attempts)
    if not expected <= struck <= (expected if case.times else case.most):
        return f"{struck} requests met the fault, not {expected}"
    if not failed:
        return "" if bundle is not None and name in bundle.names else "it is not in the bundle"
    told = first.stdout[first.stdout.index(f"  {name}: ") :].split(f"  {name}: ", 1)[1].split("\n  127.", 1)[0]
    if not any(reason in told for reason in case.reasons):
        return f"the reason is not told: {told}"
    return "" if bundle is None or name not in bundle.names else "it is in the bundle"


def _problem_after(pushed: PushedImage, proxy: FaultProxy, arrived: set[str]) -> str:
    """What is wrong about the rerun: a layer that had arrived must not be asked for again, the others once."""
    asked = [seen.path.rpartition(":")[2] for seen in proxy.requests if "/blobs/" in seen.path and seen.method == "GET"]
    layers = {layer.partition(":")[2] for layer in pushed.layers}
    again = sorted(name[:12] for name in set(asked) & layers & arrived)
    twice = sorted(name[:12] for name in layers if asked.count(name) > 1)
    return f"asked again for {again}, twice for {twice}" if again or twice else ""
