"""Runs set against the dense run of the same work on the same machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft.sim.results import RunResult

__all__ = [
    "Compared",
    "compare_runs",
    "distinct_titles",
    "ideal_speedup",
    "in_order",
    "pareto_front",
    "run_title",
]


@dataclass(frozen=True)
class Compared:
    """A run beside its dense ``twin``; ratios are None where there is none.

    ``speedup`` and ``energy_ratio`` are dense over this run, per step. ``ideal_speedup`` counts
    multiply-accumulates only: what skipping the zeros' operations would give if nothing else
    took time.
    """

    run: RunResult
    twin: RunResult | None
    speedup: float | None
    energy_ratio: float | None
    ideal_speedup: float


def in_order(runs: Sequence[RunResult]) -> list[RunResult]:
    """Runs of one model together, in it those of one machine, the dense one first of them."""
    models = list(dict.fromkeys(run.model for run in runs))
    machines = list(dict.fromkeys(run.hardware for run in runs))
    return sorted(
        runs,
        key=lambda run: (
            models.index(run.model),
            machines.index(run.hardware),
            run.recipe != "dense",
        ),
    )


def compare_runs(runs: Sequence[RunResult]) -> list[Compared]:
    """Every run with its ratios against the first dense run of the same work among ``runs``."""
    return [_compare(run, _dense_twin(run, runs)) for run in runs]


def _compare(run: RunResult, dense: RunResult | None) -> Compared:
    speedup = energy = None
    if dense is not None:
        speedup = _per_step_ratio(dense.total.time_s, run.total.time_s, dense, run)
        energy = _per_step_ratio(dense.total.energy_j, run.total.energy_j, dense, run)
    return Compared(run, dense, speedup, energy, ideal_speedup(run))


def _per_step_ratio(
    a: float | None, b: float | None, dense: RunResult, run: RunResult
) -> float | None:
    return (a / dense.steps) / (b / run.steps) if a and b else None


def _dense_twin(run: RunResult, runs: Sequence[RunResult]) -> RunResult | None:
    return next((other for other in runs if _is_dense_twin(other, run)), None)


def _is_dense_twin(other: RunResult, run: RunResult) -> bool:
    """Dense, and the same work: equal multiply-accumulates per step rule out other inputs."""
    same = (other.model, other.hardware, other.batch) == (run.model, run.hardware, run.batch)
    work = other.total.macs_dense * run.steps == run.total.macs_dense * other.steps
    return other.recipe == "dense" and same and work


def ideal_speedup(run: RunResult) -> float:
    """Dense over done multiply-accumulates: the operation-count bound."""
    return run.total.macs_dense / run.total.macs_done if run.total.macs_done else 1.0


def run_title(run: RunResult) -> str:
    """A run in a few words."""
    return ", ".join(_title_fields(run)[:3])


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats in one axis without losing in the other.

    Smaller is better in both; equal points are all kept. In the order of the first axis.
    """
    order = sorted(range(len(points)), key=lambda index: points[index])
    front: list[int] = []
    for index in order:
        x, y = points[index]
        if not front or y < points[front[-1]][1] or points[front[-1]] == (x, y):
            front.append(index)
    return front


def distinct_titles(runs: Sequence[RunResult]) -> list[str]:
    """What tells the runs apart, in as few words as will do; no two are equal."""
    fields = [_title_fields(run) for run in runs]
    columns = list(zip(*fields, strict=True))
    told = [index for index, column in enumerate(columns) if len(set(column)) > 1] or [1]
    for index in reversed(told[1:]):
        fewer = [kept for kept in told if kept != index]
        if len({_pick(row, fewer) for row in fields}) == len({_pick(row, told) for row in fields}):
            told = fewer
    titles: list[str] = []
    for row in fields:
        title, number = ", ".join(_pick(row, told)), 2
        while title in titles:
            title, number = f"{', '.join(_pick(row, told))} ({number})", number + 1
        titles.append(title)
    return titles


def _pick(row: Sequence[str], indices: Sequence[int]) -> tuple[str, ...]:
    return tuple(row[index] for index in indices)


def _title_fields(run: RunResult) -> tuple[str, ...]:
    pattern = "" if run.recipe == "dense" else f" {run.pattern}"
    steps = f"{run.steps} steps"
    return (run.model, f"{run.recipe}{pattern}", run.hardware, f"batch {run.batch}", steps)
