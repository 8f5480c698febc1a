"""The charts of several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft.reports.accuracy import Accuracy, accuracy_of
from weft.reports.charts import STAGE_COLOURS, Chart, axis, bars, label, layout, named_axis
from weft.reports.comparison import compare_runs, distinct_titles, pareto_front
from weft.sim.results import STAGES, RunResult

__all__ = ["comparison_charts"]

_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8a8a")
_SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
_ROW_PX, _FRAME_PX = 40, 120
_NAMED = 4
"""Points of one model up to which each has its name beside it."""


def comparison_charts(runs: Sequence[RunResult], known: Sequence[Accuracy] = ()) -> list[Chart]:
    """All charts that these runs have data for, in reading order."""
    titles = distinct_titles(runs)
    charts = [_stages(runs, titles)]
    if any(row.speedup is not None and row.run.recipe != "dense" for row in compare_runs(runs)):
        charts.insert(0, _speedups(runs, titles))
    if any(run.energy_by_component_j for run in runs):
        charts.append(_energy(runs, titles))
    charts += [chart for chart in (_pareto(runs, titles),) if chart.rows]
    if any(accuracy_of(run, known) for run in runs):
        charts.append(_accuracy(runs, titles, known))
    return charts


def _height(rows: int) -> int:
    return _FRAME_PX + _ROW_PX * max(1, rows)


def _speedups(runs: Sequence[RunResult], titles: Sequence[str]) -> Chart:
    """Speed-up over dense, with the bound that the operation count alone sets."""
    rows = [
        (title, row.speedup, row.ideal_speedup, row.energy_ratio)
        for title, row in zip(titles, compare_runs(runs), strict=True)
        if row.speedup is not None and row.run.recipe != "dense"
    ]
    names = [row[0] for row in rows]
    speedups = {"speed-up": [row[1] or 0.0 for row in rows]}
    bound = {
        "type": "scatter",
        "mode": "markers",
        "name": "by operation count alone",
        "x": [row[2] for row in rows],
        "y": list(range(len(rows))),
        "marker": {"symbol": "line-ns-open", "size": 26, "line": {"width": 3}, "color": "#D55E00"},
        "hovertemplate": "by operation count alone: %{x:.3f}x<extra></extra>",
    }
    return Chart(
        "speedups",
        "Speed-up over dense on the same machine",
        "The mark at each bar is dense over done multiply-accumulates: what skipping zeros would "
        "give if nothing else took time.",
        ("run", "speedup", "speedup_by_operation_count", "energy_ratio"),
        rows,
        [*bars(names, speedups, unit="x", colours={"speed-up": "#0072B2"}), bound],
        layout(
            _height(len(rows)),
            xaxis=axis("times as fast as dense", rangemode="tozero"),
            yaxis=named_axis(names),
        ),
    )


def _stages(runs: Sequence[RunResult], titles: Sequence[str]) -> Chart:
    """Time per step by stage, the dense run of the same work being 1."""
    times = {stage: [_stage_time(run, stage) for run in runs] for stage in STAGES}
    wholes = [_time_and_energy(row.twin or row.run)[0] or 1.0 for row in compare_runs(runs)]
    parts = {
        stage: [time / whole for time, whole in zip(own, wholes, strict=True)]
        for stage, own in times.items()
    }
    rows = [
        (title, run.total.time_s / run.steps, *(times[stage][index] for stage in STAGES))
        for index, (title, run) in enumerate(zip(titles, runs, strict=True))
    ]
    return Chart(
        "stages",
        "Time per step by stage",
        "Where a sparse run saves, and what it does not reach: dense on the same machine is 1 (a "
        "run without a dense one beside it is its own measure).",
        ("run", "time_s", *(f"{stage}_s" for stage in STAGES)),
        rows,
        bars(titles, parts, unit="", colours=STAGE_COLOURS),
        layout(
            _height(len(runs)),
            barmode="stack",
            xaxis=axis("time per step, dense = 1"),
            yaxis=named_axis(titles),
        ),
    )


def _stage_time(run: RunResult, stage: str) -> float:
    return run.stages[stage].time_s / run.steps if stage in run.stages else 0.0


def _energy(runs: Sequence[RunResult], titles: Sequence[str]) -> Chart:
    """Joules per step by component."""
    names = list(dict.fromkeys(name for run in runs for name in run.energy_by_component_j))
    parts = {
        name.removesuffix("_j"): [
            run.energy_by_component_j.get(name, 0.0) / run.steps for run in runs
        ]
        for name in names
    }
    colours = {name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(parts)}
    rows = [
        (title, *(values[index] for values in parts.values())) for index, title in enumerate(titles)
    ]
    return Chart(
        "energy",
        "Energy per step by component",
        "Counted actions times each machine's table; of a GPU, what its power model says of the "
        "whole board.",
        ("run", *(f"{part}_j" for part in parts)),
        rows,
        bars(titles, parts, unit="J", colours=colours),
        layout(
            _height(len(runs)),
            barmode="stack",
            xaxis=axis("joules per step"),
            yaxis=named_axis(titles),
        ),
    )


def _pareto(runs: Sequence[RunResult], titles: Sequence[str]) -> Chart:
    """Time against energy per step, each model with the runs that no other beats."""
    groups: dict[tuple[str, int, float], list[int]] = {}
    for index, run in enumerate(runs):
        if run.total.energy_j and run.total.time_s:
            work = (run.model, run.batch, run.total.macs_dense / run.steps)
            groups.setdefault(work, []).append(index)
    rows: list[tuple[str, str, float, float, bool]] = []
    traces: list[dict[str, Any]] = []
    for place, ((model, batch, _), own) in enumerate(groups.items()):
        points = [_time_and_energy(runs[index]) for index in own]
        front = pareto_front(points)
        name = f"{label(model, 24)}, batch {batch}"
        rows += [(titles[index], model, *points[i], i in front) for i, index in enumerate(own)]
        texts = [label(titles[index], 80) for index in own]
        traces += _front_traces(name, place, points, front, texts)
    return Chart(
        "pareto",
        "Time against energy",
        "Per step; the runs that no other of the same model and batch beats in both are ringed, "
        "and a line joins them.",
        ("run", "model", "time_s", "energy_j", "on_front"),
        rows,
        traces,
        layout(
            460,
            xaxis=axis("seconds per step", type="log", tickformat="~g"),
            yaxis=axis("joules per step", type="log", tickformat="~g", nticks=4),
        ),
        zoom=True,
    )


def _time_and_energy(run: RunResult) -> tuple[float, float]:
    return run.total.time_s / run.steps, (run.total.energy_j or 0.0) / run.steps


def _front_traces(
    name: str,
    place: int,
    points: Sequence[tuple[float, float]],
    front: Sequence[int],
    texts: Sequence[str],
) -> list[dict[str, Any]]:
    colour = _PALETTE[place % len(_PALETTE)]
    dots = {
        "type": "scatter",
        "mode": "markers+text" if len(points) <= _NAMED else "markers",
        "name": name,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "text": [f"  {text}  " for text in texts],  # clear of the ring
        "textposition": _beside([x for x, _ in points]),
        "textfont": {"size": 11},
        "cliponaxis": False,
        "marker": {"color": colour, "size": 11, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
        "hovertemplate": "%{text}<br>%{x:.4~s}s, %{y:.4~s}J<extra></extra>",
    }
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "showlegend": False,
        "x": [points[index][0] for index in front],
        "y": [points[index][1] for index in front],
        "line": {"color": colour, "dash": "dot", "shape": "hv"},
        "marker": {"color": colour, "size": 22, "symbol": "circle-open"},
        "hoverinfo": "skip",
    }
    return [dots, line]


def _beside(times: Sequence[float]) -> list[str]:
    """Where each point's name stands: inwards of it on the logarithmic axis."""
    middle = (min(times) * max(times)) ** 0.5
    return [f"middle {'right' if time <= middle else 'left'}" for time in times]


def _accuracy(runs: Sequence[RunResult], titles: Sequence[str], known: Sequence[Accuracy]) -> Chart:
    """What training reached against what a step takes."""
    found = [
        (title, run, reached)
        for title, run in zip(titles, runs, strict=True)
        if (reached := accuracy_of(run, known)) is not None
    ]
    rows = [
        (title, reached.metric_name, reached.metric, reached.seeds, run.total.time_s / run.steps)
        for title, run, reached in found
    ]
    metric = found[0][2].metric_name.replace("_", " ")
    return Chart(
        "accuracy",
        "What training reached against its time",
        "Averages over the seeds of real training runs; the time is one simulated step's.",
        ("run", "metric_name", "metric", "seeds", "time_s"),
        rows,
        [
            {
                "type": "scatter",
                "mode": "markers+text",
                "x": [row[4] for row in rows],
                "y": [row[2] for row in rows],
                "text": [f" {label(row[0], 80)} " for row in rows],
                "textposition": _beside([row[4] for row in rows]),
                "cliponaxis": False,
                "marker": {"color": _PALETTE[0], "size": 11},
                "hovertemplate": "%{text}<br>%{x:.4~s}s, %{y:.4f}<extra></extra>",
            }
        ],
        layout(
            420,
            showlegend=False,
            xaxis=axis("seconds per step", type="log", tickformat="~g"),
            yaxis=axis(metric),
        ),
    )
