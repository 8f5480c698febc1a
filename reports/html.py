"""The report of one run: one HTML file that works offline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft.reports.comparison import ideal_speedup, run_title
from weft.reports.entries import Entry
from weft.reports.page import render_page
from weft.reports.run_charts import run_charts
from weft.reports.tables import (
    layer_table,
    other_tables,
    stage_table,
    uncosted_table,
    without_empty,
)
from weft.reports.timeline import timeline
from weft.reports.units import count, data, joules, ratio, seconds, share
from weft.reports.validation import validation_lines
from weft.sim.results import RunResult

__all__ = ["render_report"]

_ALWAYS = ("name", "stage", "why", "pattern", "time_s")
"""Columns of the layers that the page's filter goes by."""


def render_report(run: RunResult, entries: Sequence[Entry] = ()) -> str:
    """The whole page as text; every name in it is escaped.

    ``entries`` are the timeline's window; without them the page has no timeline.
    """
    charts = run_charts(run)
    if entries:
        charts.append(timeline(entries))
    return render_page(
        "report.html",
        charts,
        title=run_title(run),
        run=run,
        headline=_headline(run),
        provenance=_provenance(run),
        machine=_flat(run.machine),
        stages=stage_table(run),
        layers=without_empty(layer_table(run), _ALWAYS),
        tables=other_tables(run),
        uncosted=uncosted_table(run),
        uncosted_ops=sum(op.count for op in run.uncosted),
        validation=validation_lines(run),
    )


def _headline(run: RunResult) -> list[tuple[str, str]]:
    total = run.total
    figures = [
        ("time", seconds(total.time_s)),
        ("energy", joules(total.energy_j)),
        ("samples per second", f"{total.samples_per_s:,.4g}"),
        ("DRAM traffic", data(total.dram_bytes)),
        ("effective throughput", f"{total.throughput_gops_effective:,.4g} GOP/s"),
        ("speed-up by operation count alone", ratio(ideal_speedup(run))),
    ]
    if total.cycles is not None:
        figures.insert(1, ("cycles", count(total.cycles)))
    if total.stce_utilization is not None:
        figures.append(("array utilization", share(total.stce_utilization)))
    return figures


def _provenance(run: RunResult) -> list[tuple[str, str]]:
    rows = [
        ("model", run.model),
        ("recipe", run.recipe),
        ("pattern", run.pattern),
        ("machine", run.hardware),
        ("batch", count(run.batch)),
        ("steps", count(run.steps)),
        ("weft", run.weft_version),
        ("schema", run.schema),
    ]
    rest = run.provenance.items()
    return rows + [
        (key.replace("_", " "), text) for key, text in rest if not key.startswith("validated")
    ]


def _flat(machine: Any, prefix: str = "") -> list[tuple[str, str]]:
    """The machine's fields with dotted names."""
    rows: list[tuple[str, str]] = []
    for key, value in machine.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows
