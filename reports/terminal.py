"""A run on the terminal: what it costs by stage, and the layers that cost most, with why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from weft.reports.accuracy import Accuracy, accuracy_of
from weft.reports.comparison import compare_runs
from weft.reports.units import count, data, joules, ratio, seconds, share, shown
from weft.sim.results import Costs, LayerCost, RunResult

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["ablation_table", "compare_table", "summary_table"]

_MOST = 10


def summary_table(run: RunResult) -> list[RenderableType]:
    """Everything that ``weft simulate`` prints, in order."""
    from rich.text import Text

    parts: list[RenderableType] = [Text(shown(_head(run))), _stages(run), _layers(run)]
    if run.weights:
        parts.append(_weights(run))
    if run.critical_path_cycles:
        parts.append(_critical_path(run))
    if run.what_if:
        parts.append(_what_if(run))
    parts += [Text(shown(line)) for line in _remarks(run)]
    return parts


def _head(run: RunResult) -> str:
    steps = f"{run.steps} step{'s' if run.steps > 1 else ''}"
    recipe = f"recipe {run.recipe}" + ("" if run.recipe == "dense" else f" {run.pattern}")
    return f"{run.model}, batch {run.batch}, {steps}, {recipe}, on {run.hardware}"


def _remarks(run: RunResult) -> list[str]:
    total = run.total
    lines = [
        f"{total.samples_per_s:.4g} samples/s, {total.throughput_gops_effective:.4g} GOP/s "
        f"(skipped zeros counted), {count(total.macs_done)} of {count(total.macs_dense)} "
        "multiply-accumulates done"
    ]
    if run.parts_s:
        lines.append(f"of the time: {parts_line(run)}")
    if run.overlap_cycles:
        lines.append(f"stages overlap by {count(run.overlap_cycles)} cycles")
    lines += [f"note: {note}" for note in run.notes]
    if run.uncosted:
        ops = sum(op.count for op in run.uncosted)
        lines.append(f"not costed: {ops} ops ({_op_names(run)})")
    return lines


def parts_line(run: RunResult) -> str:
    """What the time is made of, largest first."""
    whole = sum(run.parts_s.values()) or 1.0
    parts = sorted(run.parts_s.items(), key=lambda part: -part[1])
    return ", ".join(
        f"{name.replace('_', ' ')} {seconds / whole:.1%}" for name, seconds in parts if seconds > 0
    )


def _op_names(run: RunResult) -> str:
    names = sorted({op.op for op in run.uncosted})
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        justify = "left" if index == 0 or column == "op" else "right"
        folds = column in ("layer", "op", "model", "derivative")
        table.add_column(column, justify=justify, overflow="fold", no_wrap=not folds)
    return table


def _add(table: Table, *cells: str) -> None:
    """A row of plain text: brackets in a layer's name are no markup."""
    from rich.text import Text

    table.add_row(*(Text(shown(cell)) for cell in cells))


def _stages(run: RunResult) -> Table:
    table = _table("By stage", "stage", "cycles", "time", "share", "energy", "DRAM", "utilization")
    for stage, cost in run.stages.items():
        if cost.time_s or cost.dram_bytes:
            _add(table, stage, *_cost_cells(cost, run.total))
    table.add_section()
    _add(table, "total", *_cost_cells(run.total, run.total))
    return table


def _cost_cells(cost: Costs, total: Costs) -> tuple[str, ...]:
    return (
        count(cost.cycles),
        seconds(cost.time_s),
        share(cost.time_s / total.time_s if total.time_s else None),
        joules(cost.energy_j),
        data(cost.dram_bytes),
        share(cost.stce_utilization if cost.macs_done and cost.stce_utilization else None),
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
        _add(
            table,
            layer.name,
            layer.stage,
            layer.op,
            layer.pattern,
            layer.dataflow or "-",
            seconds(layer.time_s),
            _busy(layer),
            layer.why if layer.cycles is not None else "-",
        )
    return table


def _critical_path(run: RunResult) -> Table:
    table = _table("The critical path", "spent on", "cycles", "share")
    for part, cycles in run.critical_path_cycles.items():
        if cycles:
            part_of = cycles / run.total.cycles if run.total.cycles else None
            _add(table, part.replace("_", " "), count(cycles), share(part_of))
    return table


def _what_if(run: RunResult) -> Table:
    table = _table("What if", "change", "from", "to", "saves", "same schedule", "derivative")
    for row in run.what_if:
        saved = row.saved_cycles / run.total.cycles if run.total.cycles else None
        _add(
            table,
            row.knob,
            count(row.old),
            count(row.new),
            f"{count(row.saved_cycles)} ({share(saved)})",
            count(row.same_schedule_cycles),
            f"{row.unit_cycles:,.4g} per {row.unit}",
        )
    return table


def _weights(run: RunResult) -> Table:
    table = _table("What the weights' zeros show", "layer", "axis", "pattern", "fits", "zeros")
    for row in run.weights:
        _add(table, row.layer, row.axis, row.pattern, share(row.share), share(row.zeros))
    return table


def _busy(layer: LayerCost) -> str:
    if not layer.cycles or layer.busy_cycles is None:
        return "-"
    return f"{min(1.0, layer.busy_cycles / layer.cycles):.0%}"


def ablation_table(rows: Sequence[Mapping[str, int | str]], features: Sequence[str]) -> Table:
    """Cycles with every feature on, and how much longer the step takes without each."""
    none = ",".join(features)
    table = _table("Without", "model", "all on", *features, "any of them")
    for row in rows:
        whole = int(row["all on"])
        losses = [f"{int(row[name]) / whole - 1:+.1%}" for name in (*features, none)]
        _add(table, str(row["model"]), f"{whole:,}", *losses)
    return table


def compare_table(
    runs: Sequence[RunResult], accuracy: Sequence[Accuracy] = ()
) -> list[RenderableType]:
    """Runs side by side; ratios are against the dense run of the same model and machine.

    ``accuracy`` is what training reached, where it is known.
    """
    reached = [accuracy_of(run, accuracy) for run in runs]
    metrics = dict.fromkeys(found.metric_name for found in reached if found is not None)
    table = _table(
        "Compared",
        "model",
        "recipe",
        "machine",
        "time",
        "energy",
        "speed-up",
        "by op count",
        "energy ratio",
        "utilization",
        "DRAM",
        *(name.replace("_", " ") for name in metrics),
    )
    for row, trained in zip(compare_runs(runs), reached, strict=True):
        run = row.run
        _add(
            table,
            run.model,
            f"{run.recipe} {run.pattern}" if run.recipe != "dense" else "dense",
            run.hardware,
            seconds(run.total.time_s),
            joules(run.total.energy_j),
            ratio(row.speedup),
            ratio(row.ideal_speedup),
            ratio(row.energy_ratio),
            share(run.total.stce_utilization or None),
            data(run.total.dram_bytes),
            *(
                f"{trained.metric:.4f}" if trained and trained.metric_name == name else "-"
                for name in metrics
            ),
        )
    return [table]
