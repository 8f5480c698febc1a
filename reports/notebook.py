"""A run as notebooks show it."""

from __future__ import annotations

import html

from weft.reports.comparison import ideal_speedup, run_title
from weft.reports.tables import Table, layer_table, stage_table
from weft.reports.units import joules, ratio, seconds, shown
from weft.sim.results import RunResult

__all__ = ["run_html"]

_MOST = 10
_STAGE_KEYS = ("stage", "time_s", "share", "cycles", "energy_j", "dram_bytes", "stce_utilization")
_LAYER_KEYS = ("name", "stage", "op", "pattern", "dataflow", "time_s", "share", "busy", "why")


def run_html(run: RunResult) -> str:
    """Totals, stages and the costliest layers as HTML (``_repr_html_``); all names escaped."""
    total = run.total
    head = (
        f"{seconds(total.time_s)}, {joules(total.energy_j)}, {total.samples_per_s:,.4g} samples/s, "
        f"{ratio(ideal_speedup(run))} by operation count alone"
    )
    parts = [
        f"<b>{_safe(run_title(run))}</b>, batch {run.batch:,}<br>{_safe(head)}",
        _table(stage_table(run), _STAGE_KEYS),
        _table(layer_table(run), _LAYER_KEYS),
    ]
    parts += [f"note: {_safe(note)}<br>" for note in run.notes]
    if run.uncosted:
        parts.append(f"not costed: {sum(op.count for op in run.uncosted):,} ops")
    return f"<div>{''.join(parts)}</div>"


def _table(table: Table, keys: tuple[str, ...]) -> str:
    headings = dict(table.header)
    places = [list(headings).index(key) for key in keys]
    head = "".join(f"<th>{_safe(headings[key])}</th>" for key in keys)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_safe(row[place].text)}</td>' for place in places)}</tr>"
        for row in table.rows[:_MOST]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _safe(text: str) -> str:
    return html.escape(shown(text))
