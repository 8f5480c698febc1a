"""One run, or several compared, as a file: HTML, Markdown, CSV, Parquet or PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from weft.reports.accuracy import Accuracy
from weft.reports.entries import Entry
from weft.reports.writing import ReportError, write_atomically, write_text_atomically
from weft.sim.results import RunResult

__all__ = ["FORMATS", "export"]

_Export = Callable[[Sequence[RunResult], Path, Sequence[Accuracy], Sequence[Entry]], None]


def export(
    runs: Sequence[RunResult],
    format_: str,
    path: Path,
    accuracy: Sequence[Accuracy] = (),
    entries: Sequence[Entry] = (),
) -> None:
    """Write ``runs`` to ``path``.

    html, md and png: a run's report, or the comparison of several. csv: the layers of one run, or
    a row per run of several. parquet: the layers of all.

    Args:
        runs: at least one.
        format_: one of ``FORMATS``.
        path: the file, replaced when the new one is whole.
        accuracy: what training reached (``read_accuracy``), for comparisons.
        entries: the timeline of one run's page (``read_timeline``).

    Raises:
        ReportError: an unknown format, no run, or a place that cannot be written.
    """
    if format_ not in FORMATS:
        raise ReportError(f"unknown format {format_!r}; known: {', '.join(FORMATS)}")
    if not runs:
        raise ReportError("no run to report on")
    _EXPORTS[format_](runs, path, accuracy, entries)


def _html(
    runs: Sequence[RunResult], path: Path, accuracy: Sequence[Accuracy], entries: Sequence[Entry]
) -> None:
    from weft.reports.comparison_html import render_comparison
    from weft.reports.html import render_report

    page = render_report(runs[0], entries) if len(runs) == 1 else render_comparison(runs, accuracy)
    write_text_atomically(path, page)


def _markdown(
    runs: Sequence[RunResult], path: Path, accuracy: Sequence[Accuracy], entries: Sequence[Entry]
) -> None:
    from weft.reports.markdown import render_markdown

    write_text_atomically(path, render_markdown(runs, accuracy))


def _csv(
    runs: Sequence[RunResult], path: Path, accuracy: Sequence[Accuracy], entries: Sequence[Entry]
) -> None:
    from weft.reports.comparison_tables import comparison_table
    from weft.reports.tables import layer_table

    table = layer_table(runs[0]) if len(runs) == 1 else comparison_table(runs, accuracy)
    write_text_atomically(path, table.csv)


def _parquet(
    runs: Sequence[RunResult], path: Path, accuracy: Sequence[Accuracy], entries: Sequence[Entry]
) -> None:
    from weft.reports.parquet import layers_file

    content = layers_file(runs)
    write_atomically(path, lambda target: target.write_bytes(content))


def _png(
    runs: Sequence[RunResult], path: Path, accuracy: Sequence[Accuracy], entries: Sequence[Entry]
) -> None:
    from weft.reports.picture import write_picture

    write_picture(runs, path, accuracy)


_EXPORTS: dict[str, _Export] = {
    "html": _html,
    "md": _markdown,
    "csv": _csv,
    "parquet": _parquet,
    "png": _png,
}
FORMATS = tuple(_EXPORTS)
"""What ``weft report --format`` takes."""
