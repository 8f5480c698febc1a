"""Accuracy against simulated time and energy, one curve per recipe, in one offline HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from weft.models.training.log import Record
from weft.reports.charts import Chart, axis, label, layout
from weft.reports.page import render_page
from weft.reports.writing import write_text_atomically

if TYPE_CHECKING:
    from weft.cli.train import TrainedRecipe

__all__ = ["Curve", "curve_charts", "curve_of", "write_curves"]

_COLOURS = ("#8a8a8a", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Curve:
    """The metric of one recipe over the run, mean over its seeds, and the seeds' extremes."""

    name: str
    steps: tuple[int, ...]
    time_s: tuple[float, ...]
    energy_j: tuple[float, ...]
    metric: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]


def curve_of(trained: TrainedRecipe) -> Curve:
    """The points where the metric was measured; seeds share their steps and their price."""
    measured = [[r for r in run.records if r.metric is not None] for run in trained.runs]
    first = measured[0]
    values = [[_metric(run[at]) for run in measured] for at in range(len(first))]
    kind = "sparse" if trained.runs[0].sparse_inference else "dense"
    return Curve(
        name=f"{trained.recipe} ({kind} at inference)",
        steps=tuple(record.step + 1 for record in first),
        time_s=tuple(record.time_s or 0.0 for record in first),
        energy_j=tuple(record.energy_j or 0.0 for record in first),
        metric=tuple(fmean(seeds) for seeds in values),
        lowest=tuple(min(seeds) for seeds in values),
        highest=tuple(max(seeds) for seeds in values),
    )


def _metric(record: Record) -> float:
    assert record.metric is not None
    return record.metric


def curve_charts(curves: Sequence[Curve], metric: str, hardware: str) -> list[Chart]:
    """The metric against seconds and against joules on ``hardware``; bars span the seeds."""
    name = metric.replace("_", " ")
    return [
        _chart(curves, "time", name, f"seconds on {hardware}, simulated"),
        _chart(curves, "energy", name, f"joules on {hardware}, simulated"),
    ]


def _chart(
    curves: Sequence[Curve], against: Literal["time", "energy"], metric: str, title: str
) -> Chart:
    unit = "s" if against == "time" else "J"
    places = [curve.time_s if against == "time" else curve.energy_j for curve in curves]
    rows = [
        (curve.name, *point)
        for curve, xs in zip(curves, places, strict=True)
        for point in zip(curve.steps, xs, curve.metric, curve.lowest, curve.highest, strict=True)
    ]
    return Chart(
        against,
        f"{metric.capitalize()} against {against}",
        "Mean over the seeds of real training runs; bars span the seeds. Every step is priced "
        "with what the recipe does at that step.",
        ("recipe", "steps", f"{against}_{unit.lower()}", metric, "lowest", "highest"),
        rows,
        [
            _line(curve, xs, number, unit)
            for number, (curve, xs) in enumerate(zip(curves, places, strict=True))
        ],
        layout(520, xaxis=axis(title, rangemode="tozero"), yaxis=axis(metric)),
        zoom=True,
    )


def _line(curve: Curve, xs: Sequence[float], number: int, unit: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(curve.name, 60),
        "x": list(xs),
        "y": list(curve.metric),
        "customdata": list(curve.steps),
        "line": {
            "color": _COLOURS[number % len(_COLOURS)],
            "dash": _DASHES[number // len(_COLOURS) % len(_DASHES)],
        },
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [h - m for h, m in zip(curve.highest, curve.metric, strict=True)],
            "arrayminus": [m - w for m, w in zip(curve.metric, curve.lowest, strict=True)],
            "thickness": 1,
            "width": 3,
        },
        "hovertemplate": f"%{{y:.4f}} after %{{customdata}} steps, %{{x:.4~s}}{unit}",
    }


def write_curves(trained: Sequence[TrainedRecipe], hardware: str, path: Path) -> None:
    """Write the curves of priced runs to ``path``; the file needs no network."""
    first = trained[0].runs[0]
    charts = curve_charts([curve_of(entry) for entry in trained], first.metric_name, hardware)
    rows = [
        ("model", first.settings.model),
        ("data", first.settings.data),
        ("pattern", first.settings.pattern),
        ("steps", f"{first.settings.steps:,}"),
        ("batch", str(first.settings.batch)),
        ("optimizer", f"{first.settings.optimizer}, peak rate {first.settings.learning_rate:g}"),
        ("seeds", str(len(trained[0].runs))),
        ("machine", hardware),
    ]
    title = f"{first.settings.model} on {first.settings.data}"
    page = render_page("curves.html", charts, title=title, shown=charts, rows=rows)
    write_text_atomically(path, page)
