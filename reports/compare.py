"""Several runs in one file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from weft.reports.folder import ReportError
from weft.reports.html import render_report
from weft.sim.results import RunResult

__all__ = ["FORMATS", "export"]

FORMATS = ("html", "md", "csv")

_COLUMNS = (
    "model",
    "recipe",
    "pattern",
    "hardware",
    "batch",
    "steps",
    "cycles",
    "time_s",
    "energy_j",
    "dram_bytes",
    "stce_utilization",
    "samples_per_s",
)


def export(runs: Sequence[RunResult], format_: str, path: Path) -> None:
    """Write ``runs`` to ``path`` as html, md or csv.

    Raises:
        ReportError: an unknown format, or a place that cannot be written.
    """
    if format_ not in FORMATS:
        raise ReportError(f"unknown format {format_!r}; known: {', '.join(FORMATS)}")
    text = {"html": _html, "md": _markdown, "csv": _csv}[format_](runs)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror or error}") from error


def _rows(runs: Sequence[RunResult]) -> list[list[str]]:
    return [
        [str(getattr(run, name, getattr(run.total, name, ""))) for name in _COLUMNS] for run in runs
    ]


def _csv(runs: Sequence[RunResult]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(runs))
    return text.getvalue()


def _markdown(runs: Sequence[RunResult]) -> str:
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *_rows(runs)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _html(runs: Sequence[RunResult]) -> str:
    if len(runs) == 1:
        return render_report(runs[0])
    from weft.reports.comparison_html import render_comparison

    return render_comparison(runs)
