"""A run on the terminal: what it costs by stage, and the layers that cost most, with why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weft.sim.results import Costs, LayerCost, RunResult

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["ablation_table", "compare_table", "ideal_speedup", "summary_table"]

_MOST = 10


def summary_table(run: RunResult) -> list[RenderableType]:
    """Everything that ``weft simulate`` prints, in order."""
    from rich.text import Text

    head = Text(
        f"{run.model}, batch {run.batch}, {run.steps} step{'s' if run.steps > 1 else ''}, "
        f"recipe {run.recipe} {run.pattern}, on {run.hardware}"
    )
    parts: list[RenderableType] = [head, _stages(run), _layers(run)]
    if run.weights:
        parts.append(_weights(run))
    if run.critical_path_cycles:
        parts.append(_critical_path(run))
    if run.what_if:
        parts.append(_what_if(run))
    parts += [Text(f"note: {note}") for note in run.notes]
    if run.uncosted:
        ops = sum(op.count for op in run.uncosted)
        parts.append(Text(f"not costed: {ops} ops ({_op_names(run)})"))
    return parts


def _op_names(run: RunResult) -> str:
    names = sorted({op.op for op in run.uncosted})
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        name = index == 0 or column == "op"
        justify = "left" if name else "right"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=not name)
    return table


def _stages(run: RunResult) -> Table:
    table = _table("By stage", "stage", "cycles", "time", "share", "energy", "DRAM", "utilization")
    for stage, cost in run.stages.items():
        if cost.time_s or cost.dram_bytes:
            table.add_row(stage, *_cost_cells(cost, run.total))
    table.add_section()
    table.add_row("total", *_cost_cells(run.total, run.total))
    return table


def _cost_cells(cost: Costs, total: Costs) -> tuple[str, ...]:
    return (
        "-" if cost.cycles is None else f"{cost.cycles:,}",
        seconds(cost.time_s),
        f"{cost.time_s / total.time_s:.1%}" if total.time_s else "-",
        "-" if cost.energy_j is None else f"{cost.energy_j:.3g} J",
        data(cost.dram_bytes),
        f"{cost.stce_utilization:.1%}" if cost.macs_done and cost.stce_utilization else "-",
    )


def _layers(run: RunResult) -> Table:
    table = _table(
        f"The {_MOST} layers that cost most",
        "layer",
        "stage",
        "op",
        "pattern",
        "dataflow",
        "time",
        "busy",
        "why",
    )
    costly = sorted(run.layers, key=lambda layer: layer.time_s, reverse=True)
    for layer in costly[:_MOST]:
        table.add_row(
            layer.name,
            layer.stage,
            layer.op,
            layer.pattern,
            layer.dataflow or "-",
            seconds(layer.time_s),
            _busy(layer),
            layer.why,
        )
    return table


def _critical_path(run: RunResult) -> Table:
    table = _table("The critical path", "spent on", "cycles", "share")
    for part, cycles in run.critical_path_cycles.items():
        if cycles:
            share = cycles / run.total.cycles if run.total.cycles else 0.0
            table.add_row(part.replace("_", " "), f"{cycles:,}", f"{share:.1%}")
    return table


def _what_if(run: RunResult) -> Table:
    table = _table("What if", "change", "from", "to", "saves", "same schedule", "derivative")
    for row in run.what_if:
        saved = row.saved_cycles / run.total.cycles if run.total.cycles else 0.0
        same = "-" if row.same_schedule_cycles is None else f"{row.same_schedule_cycles:,}"
        table.add_row(
            row.knob,
            f"{row.old:,}",
            f"{row.new:,}",
            f"{row.saved_cycles:,} ({saved:.1%})",
            same,
            f"{row.unit_cycles:,.4g} per {row.unit}",
        )
    return table


def _weights(run: RunResult) -> Table:
    table = _table("What the weights' zeros show", "layer", "axis", "pattern", "fits", "zeros")
    for row in run.weights:
        table.add_row(row.layer, row.axis, row.pattern, f"{row.share:.1%}", f"{row.zeros:.1%}")
    return table


def _busy(layer: LayerCost) -> str:
    if not layer.cycles or layer.busy_cycles is None:
        return "-"
    return f"{min(1.0, layer.busy_cycles / layer.cycles):.0%}"


def seconds(value: float) -> str:
    """A time with a unit that fits it."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return "0" if value == 0 else f"{value * 1e9:.3g} ns"


def data(count: int) -> str:
    """Bytes with a unit that fits them."""
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"


def ideal_speedup(run: RunResult) -> float:
    """What skipping operations alone allows: dense over done multiply-accumulates."""
    return run.total.macs_dense / run.total.macs_done if run.total.macs_done else 1.0


def ablation_table(rows: Sequence[Mapping[str, int | str]], features: Sequence[str]) -> Table:
    """Cycles with every feature on, and how much longer the step takes without each."""
    none = ",".join(features)
    table = _table("Without", "model", "all on", *features, "any of them")
    for row in rows:
        whole = int(row["all on"])
        losses = [f"{int(row[name]) / whole - 1:+.1%}" for name in (*features, none)]
        table.add_row(str(row["model"]), f"{whole:,}", *losses)
    return table


def _dense_twin(run: RunResult, runs: Sequence[RunResult]) -> RunResult | None:
    same = (
        other
        for other in runs
        if other.recipe == "dense"
        and (other.model, other.hardware, other.batch) == (run.model, run.hardware, run.batch)
    )
    return next(same, None)


def compare_table(runs: Sequence[RunResult]) -> list[RenderableType]:
    """Runs side by side; ratios are against the dense run of the same model and machine."""
    table = _table(
        "Compared",
        "model",
        "recipe",
        "machine",
        "time",
        "energy",
        "speed-up",
        "at most",
        "energy ratio",
        "utilization",
        "DRAM",
    )
    for run in runs:
        table.add_row(
            run.model,
            f"{run.recipe} {run.pattern}" if run.recipe != "dense" else "dense",
            run.hardware,
            seconds(run.total.time_s),
            "-" if run.total.energy_j is None else f"{run.total.energy_j:.3g} J",
            *_ratios(run, _dense_twin(run, runs)),
            f"{run.total.stce_utilization:.1%}" if run.total.stce_utilization else "-",
            data(run.total.dram_bytes),
        )
    return [table]


def _ratios(run: RunResult, dense: RunResult | None) -> tuple[str, str, str]:
    if dense is None:
        return "-", f"{ideal_speedup(run):.2f}x", "-"
    energy = "-"
    if dense.total.energy_j and run.total.energy_j:
        energy = f"{dense.total.energy_j / run.total.energy_j:.2f}x"
    return (
        f"{dense.total.time_s / run.total.time_s:.2f}x",
        f"{ideal_speedup(run):.2f}x",
        energy,
    )
