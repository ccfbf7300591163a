"""A selection of the matrix; ``benchmarks/faults`` runs all of it."""

from __future__ import annotations

from tests.support.registry import Registry
from tests.system.faults.matrix import BEFORE, FAULTS, FOREVER, MOMENTS, Case, cases, run_matrix


def selection() -> list[Case]:
    """Every fault, every moment and every number of times, but not all their combinations."""
    everything = cases()
    chosen = everything[::11]
    chosen += cases(faults=("truncated", "wrong bytes"), moments=("layer",))
    chosen += cases(faults=("429",), moments=("tag",), times=(2, FOREVER))
    chosen += cases(faults=(*BEFORE, "redirect to a dead host", "quota 429"), times=(1, FOREVER))
    chosen += cases(faults=("silence before the head",), moments=("layer",), times=(1,))
    # Silence takes its time; once is enough here.
    chosen = [case for case in dict.fromkeys(chosen) if case.times == 1 or not case.fault.startswith("silence")]
    chosen += cases(faults=("silence in the body",), moments=("layer",), times=(1,))
    assert {case.fault for case in chosen} == set(FAULTS)
    assert {case.moment for case in chosen} == set(MOMENTS)
    return chosen


def test_matrix(registry: Registry) -> None:
    """Success or a precise failure, and a clean rerun succeeds with the bytes of an undisturbed run."""
    outcome = run_matrix(registry, selection())
    wrong = [f"{verdict.case}: {verdict.problem}" for verdict in outcome.verdicts if verdict.problem]
    assert not wrong, "\n".join([*wrong, str(outcome.first)])
    assert "should not happen" not in outcome.first.stderr
