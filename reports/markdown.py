"""Runs as Markdown tables, names made harmless."""

from __future__ import annotations

import re
from collections.abc import Sequence

from weft.reports.accuracy import Accuracy
from weft.reports.comparison import ideal_speedup, run_title
from weft.reports.comparison_tables import comparison_table
from weft.reports.tables import Table, layer_table, stage_table, uncosted_table
from weft.reports.units import joules, ratio, seconds, shown
from weft.reports.validation import validation_lines
from weft.sim.results import RunResult

__all__ = ["render_markdown"]

_MOST = 10
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#!|~$])")


def render_markdown(runs: Sequence[RunResult], accuracy: Sequence[Accuracy] = ()) -> str:
    """One run in short, or several compared."""
    if len(runs) > 1:
        return f"# {len(runs)} runs compared\n\n{_table(comparison_table(runs, accuracy))}"
    return "\n\n".join(_one(runs[0])) + "\n"


def _one(run: RunResult) -> list[str]:
    total = run.total
    layers = layer_table(run)
    parts = [
        f"# {_safe(run_title(run))}",
        f"{run.steps:,} step{'s' if run.steps > 1 else ''}, batch {run.batch:,}: "
        f"{_safe(seconds(total.time_s))}, {_safe(joules(total.energy_j))}, "
        f"{total.samples_per_s:,.4g} samples per second; "
        f"by operation count alone {ratio(ideal_speedup(run))} as fast as dense.",
        "## By stage",
        _table(stage_table(run)),
        f"## The {min(_MOST, len(layers.rows))} layers that cost most",
        _table(layers, _MOST),
    ]
    lines = [f"- {_safe(note)}" for note in run.notes]
    lines += [f"- validated, {_safe(name)}: {_safe(text)}" for name, text in validation_lines(run)]
    if lines:
        parts += ["## Notes", "\n".join(lines)]
    if run.uncosted:
        parts += ["## Not costed", _table(uncosted_table(run))]
    return parts


def _table(table: Table, most: int | None = None) -> str:
    columns = table.columns
    lines = [
        [heading for _, heading, _ in columns],
        ["---:" if number else "---" for _, _, number in columns],
        *([_safe(cell.text) for cell in row] for row in table.rows[:most]),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _safe(text: str) -> str:
    """One line in which nothing is markup, neither Markdown nor HTML."""
    text = shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text)
