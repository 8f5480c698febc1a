"""The comparison of several runs: bars with the operation-count bound, one offline HTML file."""

from __future__ import annotations

from collections.abc import Sequence

from weft.reports.comparison import ideal_speedup
from weft.reports.units import data, seconds
from weft.sim.results import RunResult

__all__ = ["render_comparison"]

_COLUMNS = ("run", "time", "energy", "speed-up", "at most", "utilization", "DRAM")


def render_comparison(runs: Sequence[RunResult]) -> str:
    """The page as text; every name in it is escaped."""
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("weft.reports"), autoescape=True, trim_blocks=True
    )
    return environment.get_template("comparison.html").render(
        columns=_COLUMNS,
        rows=[_row(run, runs) for run in runs],
        figure=_figure(runs),
        plotly_js=get_plotlyjs(),
    )


def _title(run: RunResult) -> str:
    pattern = "" if run.recipe == "dense" else f" {run.pattern}"
    return f"{run.model}, {run.recipe}{pattern}, {run.hardware}"


def _speedup(run: RunResult, runs: Sequence[RunResult]) -> float | None:
    for other in runs:
        same = (other.model, other.hardware, other.batch) == (run.model, run.hardware, run.batch)
        if same and other.recipe == "dense":
            return other.total.time_s / run.total.time_s
    return None


def _row(run: RunResult, runs: Sequence[RunResult]) -> list[str]:
    speedup = _speedup(run, runs)
    total = run.total
    return [
        _title(run),
        seconds(total.time_s),
        "-" if total.energy_j is None else f"{total.energy_j:.4g} J",
        "-" if speedup is None else f"{speedup:.3f}x",
        f"{ideal_speedup(run):.3f}x",
        f"{total.stce_utilization:.1%}" if total.stce_utilization else "-",
        data(total.dram_bytes),
    ]


def _figure(runs: Sequence[RunResult]) -> str:
    from plotly.graph_objects import Bar, Figure, Scatter

    names = [_title(run) for run in runs]
    figure = Figure(
        [
            Bar(y=names, x=[_speedup(run, runs) for run in runs], orientation="h", name="speed-up"),
            Scatter(
                y=names,
                x=[ideal_speedup(run) for run in runs],
                mode="markers",
                marker={"symbol": "line-ns-open", "size": 24},
                name="operation count alone",
            ),
        ]
    )
    figure.update_layout(
        template="plotly_white",
        xaxis_title="speed-up over dense on the same machine",
        height=120 + 60 * len(runs),
        margin={"l": 20, "r": 20, "t": 20, "b": 50},
    )
    figure.update_yaxes(automargin=True)
    return figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True})
