"""The figures of a run, as plotly figures with the table behind each."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weft.sim.results import RunResult

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["NamedFigure", "breakdown", "energy", "roofline", "stalls"]


@dataclass(frozen=True)
class NamedFigure:
    """A figure, its file name and title, and its data as CSV."""

    name: str
    title: str
    figure: Figure
    csv: str


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _laid_out(figure: Figure, **layout: Any) -> Figure:
    figure.update_layout(
        template="plotly_white", margin={"l": 60, "r": 20, "t": 20, "b": 50}, **layout
    )
    return figure


def breakdown(run: RunResult) -> NamedFigure:
    """Time by stage."""
    from plotly.graph_objects import Bar, Figure

    rows = [(stage, cost.time_s) for stage, cost in run.stages.items() if cost.time_s]
    figure = Figure(Bar(x=[stage for stage, _ in rows], y=[time for _, time in rows]))
    _laid_out(figure, yaxis_title="seconds", height=360)
    return NamedFigure("stages", "Time by stage", figure, _csv(("stage", "time_s"), rows))


def roofline(run: RunResult) -> NamedFigure:
    """Every product as a point: effective operations per second over operations per DRAM byte."""
    from plotly.graph_objects import Figure, Scatter

    products = [layer for layer in run.layers if layer.macs_dense and layer.time_s]
    header = ("layer", "stage", "pattern", "operations_per_byte", "effective_gops")
    rows = [
        (
            layer.name,
            layer.stage,
            layer.pattern,
            2 * layer.macs_dense / max(1, layer.dram_bytes),
            2 * layer.macs_dense / layer.time_s / 1e9,
        )
        for layer in products
    ]
    figure = Figure()
    for stage in ("ff", "bp", "wu"):
        own = [row for row in rows if row[1] == stage]
        figure.add_trace(
            Scatter(
                x=[row[3] for row in own],
                y=[row[4] for row in own],
                mode="markers",
                name=stage,
                text=[f"{row[0]} {row[2]}" for row in own],
            )
        )
    roof = _roof(run, [row[3] for row in rows])
    if roof is not None:
        figure.add_trace(Scatter(x=roof[0], y=roof[1], mode="lines", name="dense roof"))
    _laid_out(figure, xaxis_title="operations per DRAM byte", yaxis_title="effective GOP/s")
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    return NamedFigure("roofline", "Roofline", figure, _csv(header, rows))


def _roof(run: RunResult, points: Sequence[float]) -> tuple[list[float], list[float]] | None:
    """Dense compute and memory read-and-write limits of the machine."""
    array, memory = run.machine.get("array"), run.machine.get("memory")
    if not array or not memory or not points:
        return None
    clock = run.machine["clock_hz"]
    peak = 2 * array["rows"] * array["cols"] * clock / 1e9
    bandwidth = (memory["read_bytes_per_cycle"] + memory["write_bytes_per_cycle"]) * clock / 1e9
    xs = sorted({min(points), peak / bandwidth, max(points)})
    return xs, [min(peak, bandwidth * x) for x in xs]


def stalls(run: RunResult) -> NamedFigure:
    """What each unit does with the run's cycles."""
    from plotly.graph_objects import Bar, Figure

    header = ("unit", "busy", "memory", "dependency", "buffer")
    rows = [
        (
            unit.unit,
            unit.busy_cycles,
            unit.memory_stall_cycles,
            unit.dependency_stall_cycles,
            unit.buffer_stall_cycles,
        )
        for unit in run.units
    ]
    figure = Figure()
    for position, name in enumerate(header[1:], start=1):
        figure.add_trace(
            Bar(
                y=[row[0] for row in rows],
                x=[row[position] for row in rows],
                name=name,
                orientation="h",
            )
        )
    _laid_out(figure, barmode="stack", xaxis_title="cycles", height=360)
    return NamedFigure("stalls", "Units: busy, and stalled by cause", figure, _csv(header, rows))


def energy(run: RunResult) -> NamedFigure:
    """Joules by component."""
    from plotly.graph_objects import Bar, Figure

    rows = list(run.energy_by_component_j.items())
    figure = Figure(Bar(x=[name for name, _ in rows], y=[joules for _, joules in rows]))
    _laid_out(figure, yaxis_title="joules", height=360)
    return NamedFigure("energy", "Energy by component", figure, _csv(("component", "joules"), rows))
