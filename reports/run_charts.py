"""The charts of one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft.reports.charts import (
    STAGE_COLOURS,
    Chart,
    axis,
    bars,
    label,
    layout,
    named_axis,
)
from weft.reports.units import share
from weft.sim.pattern import Pattern
from weft.sim.results import LayerCost, RunResult

__all__ = [
    "breakdown",
    "costliest",
    "critical_path",
    "energy",
    "roofline",
    "run_charts",
    "stalls",
    "what_if",
]

_MOST = 15
_PARTS = ("compute", "memory", "dependency", "fill/drain", "other")
_ROW_PX, _FRAME_PX = 34, 110
_ENERGY = "Counted actions times the technology's table; the share of the sum is at each bar."
_GPU_ENERGY = "What the GPU's power model says of the whole board over the run's time."


def run_charts(run: RunResult) -> list[Chart]:
    """All charts that this run has data for, in reading order (without the timeline)."""
    charts = [breakdown(run), costliest(run), roofline(run)]
    if run.units:
        charts.append(stalls(run))
    if run.critical_path_cycles:
        charts.append(critical_path(run))
    if run.energy_by_component_j:
        charts.append(energy(run))
    if run.what_if:
        charts.append(what_if(run))
    return charts


def _height(rows: int) -> int:
    return _FRAME_PX + _ROW_PX * max(1, rows)


def _seconds_of(layer: LayerCost) -> dict[str, float]:
    """What the layer's time went to, in seconds; one part, "time", without cycles (GPUs)."""
    if not layer.cycles or layer.stall_cycles is None:
        return {"time": layer.time_s}
    causes = (
        layer.memory_stall_cycles,
        layer.dependency_stall_cycles,
        layer.fill_drain_cycles,
    )
    rest = max(0, layer.stall_cycles - sum(causes))
    cycles = (max(0, layer.cycles - layer.stall_cycles), *causes, rest)
    return {
        part: layer.time_s * count / layer.cycles
        for part, count in zip(_PARTS, cycles, strict=True)
    }


def _parts_table(names: Sequence[str], split: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Seconds per part, one per name."""
    parts = [part for part in (*_PARTS, "time") if any(part in row for row in split)]
    return {part: [row.get(part, 0.0) for row in split] for part in parts}


def breakdown(run: RunResult) -> Chart:
    """Time by stage, and what it went to."""
    names = [stage for stage, cost in run.stages.items() if cost.time_s]
    split: list[dict[str, float]] = []
    for stage in names:
        total: dict[str, float] = {}
        for layer in run.layers:
            if layer.stage == stage:
                for part, value in _seconds_of(layer).items():
                    total[part] = total.get(part, 0.0) + value
        split.append(total)
    parts = _parts_table(names, split)
    rows = [
        (name, run.stages[name].time_s, *(values[index] for values in parts.values()))
        for index, name in enumerate(names)
    ]
    return Chart(
        "stages",
        "Time by stage",
        "Where the run's time goes: the stage's own unit at work, or waiting, and for what.",
        ("stage", "time_s", *(f"{part}_s" for part in parts)),
        rows,
        bars(names, parts, unit="s"),
        layout(
            _height(len(names)),
            barmode="stack",
            xaxis=axis("seconds"),
            yaxis=named_axis(names),
        ),
    )


def costliest(run: RunResult) -> Chart:
    """The layers that take most time, and what it went to."""
    layers = sorted(run.layers, key=lambda layer: layer.time_s, reverse=True)[:_MOST]
    names = [f"{layer.name} · {layer.stage}" for layer in layers]
    parts = _parts_table(names, [_seconds_of(layer) for layer in layers])
    rows = [
        (layer.name, layer.stage, layer.op, layer.time_s, *(v[index] for v in parts.values()))
        for index, layer in enumerate(layers)
    ]
    return Chart(
        "costliest",
        f"The {len(layers)} layers that cost most",
        "The same parts for single layers; the table of layers below has all of them.",
        ("layer", "stage", "op", "time_s", *(f"{part}_s" for part in parts)),
        rows,
        bars(names, parts, unit="s"),
        layout(
            _height(len(names)),
            barmode="stack",
            xaxis=axis("seconds"),
            yaxis=named_axis(names),
        ),
    )


def roofline(run: RunResult) -> Chart:
    """Every product as a point: effective operations per second over operations per DRAM byte."""
    rows = [
        (
            layer.name,
            layer.stage,
            layer.pattern,
            2 * layer.macs_dense / max(1, layer.dram_bytes),
            2 * layer.macs_dense / layer.time_s / 1e9,
        )
        for layer in run.layers
        if layer.macs_dense and layer.time_s
    ]
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": stage,
            "x": [row[3] for row in rows if row[1] == stage],
            "y": [row[4] for row in rows if row[1] == stage],
            "text": [f"{label(row[0], 80)}, {label(row[2])}" for row in rows if row[1] == stage],
            "marker": {
                "color": STAGE_COLOURS[stage],
                "symbol": symbol,
                "size": 9,
                "opacity": 0.8,
            },
            "hovertemplate": f"%{{text}} ({stage})<br>%{{x:.4~s}} operations per byte"
            "<br>%{y:.4~s} GOP/s<extra></extra>",
        }
        for stage, symbol in (("ff", "circle"), ("bp", "diamond"), ("wu", "square"))
        if any(row[1] == stage for row in rows)
    ]
    roofs = _roofs(run, rows)
    return Chart(
        "roofline",
        "Roofline",
        "Each product: skipped zeros count as operations, so a pattern N:M lifts the roof by M/N."
        + ("" if roofs else " The run does not carry its machine's peaks, so no roof is drawn."),
        ("layer", "stage", "pattern", "operations_per_dram_byte", "effective_gops"),
        rows,
        [*traces, *roofs],
        layout(
            460,
            xaxis=axis("operations per DRAM byte", type="log", tickformat="~s", nticks=6),
            yaxis=axis("effective GOP/s", type="log", tickformat="~s", nticks=4),
        ),
        zoom=True,
    )


def _roofs(run: RunResult, rows: Sequence[tuple[str, str, str, float, float]]) -> list[Any]:
    """Memory and compute limits, a line for each pattern among the products."""
    limits = _limits(run)
    if limits is None or not rows:
        return []
    peak, bandwidth = limits
    low, high = min(row[3] for row in rows), max(row[3] for row in rows)
    traces: list[Any] = []
    for pattern in dict.fromkeys(("dense", *(row[2] for row in rows))):
        roof = peak * _lift(pattern)
        xs = sorted({low, min(max(low, roof / bandwidth), high), high})
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"roof, {label(pattern)}",
                "x": xs,
                "y": [min(roof, bandwidth * x) for x in xs],
                "line": {"color": "#8a8a8a", "dash": "solid" if pattern == "dense" else "dash"},
                "hoverinfo": "skip",
            }
        )
    return traces


def _lift(pattern: str) -> float:
    try:
        parsed = Pattern.parse(pattern)
    except ValueError:
        return 1.0
    return parsed.m / parsed.n


def _limits(run: RunResult) -> tuple[float, float] | None:
    """Peak GOP/s of dense products, and GB/s of memory, reads and writes together."""
    machine = run.machine
    try:
        if "product_flop_s" in machine:
            gpus = int(machine["gpus"])
            peak, bandwidth = float(machine["product_flop_s"]), float(machine["memory_bytes_s"])
            return gpus * peak / 1e9, gpus * bandwidth / 1e9
        array, memory = machine["array"], machine["memory"]
        clock = float(machine["clock_hz"])
        peak = 2 * array["rows"] * array["cols"] * clock / 1e9
        ports = memory["read_bytes_per_cycle"] + memory["write_bytes_per_cycle"]
        return peak, ports * clock / 1e9
    except (KeyError, TypeError, ValueError):
        return None


def stalls(run: RunResult) -> Chart:
    """What each unit does with the run's cycles."""
    header = ("busy", "memory", "dependency", "buffer", "idle")
    cycles = run.total.cycles or 0
    table: list[tuple[int, ...]] = []
    for unit in run.units:
        known = (
            unit.busy_cycles,
            unit.memory_stall_cycles,
            unit.dependency_stall_cycles,
            unit.buffer_stall_cycles,
        )
        table.append((*known, max(0, cycles - sum(known))))
    names = [unit.unit for unit in run.units]
    parts = {part: [float(row[i]) for row in table] for i, part in enumerate(header)}
    return Chart(
        "stalls",
        "Units: busy, stalled by cause, idle",
        "memory: waits for data on their way or a bank being stored; dependency: for an earlier "
        "result; buffer: for a free bank; idle: nothing left to do.",
        ("unit", *(f"{part}_cycles" for part in header)),
        [(name, *row) for name, row in zip(names, table, strict=True)],
        bars(names, parts, unit=" cycles"),
        layout(
            _height(len(names)),
            barmode="stack",
            xaxis=axis("cycles"),
            yaxis=named_axis(names),
        ),
    )


def critical_path(run: RunResult) -> Chart:
    """What the longest chain of waits is made of."""
    rows = [(part.replace("_", " "), n) for part, n in run.critical_path_cycles.items() if n]
    rows.sort(key=lambda row: row[1], reverse=True)
    return _ranking(
        Chart(
            "critical-path",
            "The critical path",
            "What the one chain of instructions that decides the end of the run is made of.",
            ("part", "cycles"),
            rows,
            (),
        ),
        "cycles",
    )


def energy(run: RunResult) -> Chart:
    """Joules by component."""
    rows = [(name.removesuffix("_j"), joules) for name, joules in run.energy_by_component_j.items()]
    rows.sort(key=lambda row: row[1], reverse=True)
    return _ranking(
        Chart(
            "energy",
            "Energy by component",
            _ENERGY if run.total.cycles is not None else _GPU_ENERGY,
            ("component", "energy_j"),
            rows,
            (),
        ),
        "joules",
    )


def what_if(run: RunResult) -> Chart:
    """Cycles that each change of the machine would save."""
    rows = [
        (
            row.knob,
            row.old,
            row.new,
            row.saved_cycles,
            row.same_schedule_cycles,
            row.unit_cycles,
            row.unit,
        )
        for row in sorted(run.what_if, key=lambda row: row.saved_cycles, reverse=True)
    ]
    names = [f"{row[0]}: {row[1]:,} → {row[2]:,}" for row in rows]
    saved = {"saved": [float(row[3]) for row in rows]}
    return Chart(
        "what-if",
        "What if",
        "Each change simulated, schedules chosen anew; the derivative is per unit of the change.",
        ("knob", "old", "new", "saved_cycles", "same_schedule_cycles", "cycles_per_unit", "unit"),
        rows,
        bars(names, saved, unit=" cycles", colours={"saved": STAGE_COLOURS["wu"]}),
        layout(
            _height(len(names)),
            showlegend=False,
            xaxis=axis("cycles saved"),
            yaxis=named_axis(names),
        ),
    )


def _ranking(chart: Chart, unit: str) -> Chart:
    """Bars of one kind with the share of the whole written at each."""
    names = [str(row[0]) for row in chart.rows]
    values = [float(row[1] or 0) for row in chart.rows]
    whole = sum(values)
    traces = bars(names, {unit: values}, unit="", colours={unit: STAGE_COLOURS["ff"]})
    for trace in traces:
        trace["text"] = [share(value / whole) for value in values]
        trace["textposition"] = "auto"
    drawn = layout(
        _height(len(names)),
        showlegend=False,
        xaxis=axis(unit),
        yaxis=named_axis(names),
    )
    return Chart(chart.name, chart.title, chart.caption, chart.header, chart.rows, traces, drawn)
