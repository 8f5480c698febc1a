"""The comparison of several runs as a table."""

from __future__ import annotations

from collections.abc import Sequence

from weft.reports.accuracy import Accuracy, accuracy_of
from weft.reports.comparison import Compared, compare_runs
from weft.reports.tables import Shown, Table
from weft.reports.units import count, data, joules, ratio, seconds, share
from weft.sim.results import RunResult

__all__ = ["comparison_table"]

_HEADER = (
    ("model", "model"),
    ("recipe", "recipe"),
    ("pattern", "pattern"),
    ("hardware", "machine"),
    ("batch", "batch"),
    ("steps", "steps"),
    ("time_s", "time"),
    ("cycles", "cycles"),
    ("energy_j", "energy"),
    ("speedup", "speed-up"),
    ("speedup_by_operation_count", "by op count"),
    ("energy_ratio", "energy ratio"),
    ("stce_utilization", "utilization"),
    ("dram_bytes", "DRAM"),
    ("samples_per_s", "samples/s"),
)


def comparison_table(runs: Sequence[RunResult], known: Sequence[Accuracy] = ()) -> Table:
    """A row per run; ratios are against the dense run of the same work on the same machine."""
    reached = [accuracy_of(run, known) for run in runs]
    rows = [_row(row) for row in compare_runs(runs)]
    header = _HEADER
    if any(reached):
        header = (*header, ("metric_name", "metric"), ("metric", "reached"), ("seeds", "seeds"))
        rows = [(*row, *_reached(one)) for row, one in zip(rows, reached, strict=True)]
    return Table("comparison-table", "Comparison", header, tuple(rows))


def _row(compared: Compared) -> tuple[Shown, ...]:
    run, total = compared.run, compared.run.total
    pattern = "dense" if run.recipe == "dense" else run.pattern
    used = total.stce_utilization or None
    return (
        Shown(run.model, run.model),
        Shown(run.recipe, run.recipe),
        Shown(pattern, pattern),
        Shown(run.hardware, run.hardware),
        Shown(count(run.batch), run.batch),
        Shown(count(run.steps), run.steps),
        Shown(seconds(total.time_s), total.time_s),
        Shown(count(total.cycles), total.cycles),
        Shown(joules(total.energy_j), total.energy_j),
        Shown(ratio(compared.speedup), compared.speedup),
        Shown(ratio(compared.ideal_speedup), compared.ideal_speedup),
        Shown(ratio(compared.energy_ratio), compared.energy_ratio),
        Shown(share(used), used),
        Shown(data(total.dram_bytes), total.dram_bytes),
        Shown(f"{total.samples_per_s:,.4g}", total.samples_per_s),
    )


def _reached(one: Accuracy | None) -> tuple[Shown, ...]:
    if one is None:
        return (Shown("-", None),) * 3
    name = one.metric_name.replace("_", " ")
    return (
        Shown(name, one.metric_name),
        Shown(f"{one.metric:.4f}", one.metric),
        Shown(count(one.seeds), one.seeds),
    )
