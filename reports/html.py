"""The report of one run: one HTML file that works offline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weft.reports.figures import breakdown, energy, roofline, stalls
from weft.reports.units import data, seconds
from weft.sim.results import RunResult

if TYPE_CHECKING:
    from weft.sim.engine import Slice

__all__ = ["render_report"]

_LAYER_COLUMNS = (
    "name",
    "stage",
    "op",
    "pattern",
    "dataflow",
    "time_s",
    "cycles",
    "busy_cycles",
    "stall_cycles",
    "why",
    "dram_bytes",
    "energy_j",
    "tile",
)
_STAGE_COLUMNS = ("stage", "cycles", "time", "energy", "DRAM", "MACs done", "utilization")


def render_report(run: RunResult, slices: Sequence[Slice] = ()) -> str:
    """The whole page as text; every name in it is escaped."""
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("weft.reports"), autoescape=True, trim_blocks=True
    )
    figures = [make(run) for make in (breakdown, roofline, stalls, energy)]
    return environment.get_template("report.html").render(
        run=run,
        summary=_summary(run),
        stage_columns=_STAGE_COLUMNS,
        stages=_stages(run),
        figures=[
            {
                "name": part.name,
                "title": part.title,
                "csv": part.csv,
                "html": part.figure.to_html(
                    full_html=False, include_plotlyjs=False, config={"responsive": True}
                ),
            }
            for part in figures
        ],
        layer_columns=_LAYER_COLUMNS,
        layers=[[_cell(getattr(layer, name)) for name in _LAYER_COLUMNS] for layer in run.layers],
        plotly_js=get_plotlyjs(),
    )


def _summary(run: RunResult) -> list[tuple[str, str]]:
    total = run.total
    rows = [
        ("batch and steps", f"{run.batch}, {run.steps}"),
        ("cycles", "-" if total.cycles is None else f"{total.cycles:,}"),
        ("time", seconds(total.time_s)),
        ("energy", "-" if total.energy_j is None else f"{total.energy_j:.4g} J"),
        ("samples per second", f"{total.samples_per_s:.4g}"),
        ("effective throughput", f"{total.throughput_gops_effective:.4g} GOP/s"),
        ("DRAM", data(total.dram_bytes)),
        ("weft", run.weft_version),
    ]
    return rows + list(run.provenance.items())


def _stages(run: RunResult) -> list[list[str]]:
    return [
        [
            name,
            _cell(cost.cycles),
            seconds(cost.time_s),
            "-" if cost.energy_j is None else f"{cost.energy_j:.4g} J",
            data(cost.dram_bytes),
            f"{cost.macs_done:,}",
            f"{cost.stce_utilization:.1%}" if cost.stce_utilization else "-",
        ]
        for name, cost in (*run.stages.items(), ("total", run.total))
    ]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
