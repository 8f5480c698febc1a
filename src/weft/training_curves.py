"""Accuracy against simulated time and energy, one curve per recipe, in one offline HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from weft.models.training.log import Record
from weft.reports.writing import write_text_atomically

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from weft.train_command import TrainedRecipe

__all__ = ["Curve", "curve_of", "curves_figure", "write_curves"]


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


def curves_figure(curves: Sequence[Curve], metric: str, hardware: str) -> Figure:
    """Two panels: against seconds and against joules on ``hardware``; bars span the seeds."""
    from plotly.colors import qualitative
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    colours = qualitative.Plotly
    for number, curve in enumerate(curves):
        for column, x in ((1, curve.time_s), (2, curve.energy_j)):
            line = Scatter(
                x=x,
                y=curve.metric,
                mode="lines+markers",
                name=curve.name,
                legendgroup=curve.name,
                showlegend=column == 1,
                line={"color": colours[number % len(colours)]},
                customdata=curve.steps,
                hovertemplate="%{y:.4f} after %{customdata} steps, %{x:.4g}",
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [h - m for h, m in zip(curve.highest, curve.metric, strict=True)],
                    "arrayminus": [m - w for m, w in zip(curve.metric, curve.lowest, strict=True)],
                    "thickness": 1,
                },
            )
            figure.add_trace(line, row=1, col=column)
    figure.update_xaxes(title_text=f"seconds on {hardware}, simulated", row=1, col=1)
    figure.update_xaxes(title_text=f"joules on {hardware}, simulated", row=1, col=2)
    figure.update_yaxes(title_text=metric.replace("_", " "), row=1, col=1)
    figure.update_layout(template="plotly_white", hovermode="closest")
    return figure


def write_curves(trained: Sequence[TrainedRecipe], hardware: str, path: Path) -> None:
    """Write the curves of priced runs to ``path``; the file needs no network."""
    metric = trained[0].runs[0].metric_name
    figure = curves_figure([curve_of(entry) for entry in trained], metric, hardware)
    write_text_atomically(path, figure.to_html(include_plotlyjs=True, full_html=True))
