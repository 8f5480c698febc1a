"""``weft report``: one run's into its folder, several runs' beside their folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from weft.cli.options import Accuracy, subcommand
from weft.cli.output import tell
from weft.reports.accuracy import read_accuracy
from weft.reports.compare import export
from weft.reports.comparison import in_order
from weft.reports.entries import Entry
from weft.reports.folder import read_run, read_timeline
from weft.reports.window import parse_window
from weft.reports.writing import ReportError

__all__ = ["app", "run_report"]

app = subcommand()


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    format: Annotated[str, typer.Option(help="html, md, csv, parquet or png.")] = "html",  # noqa: A002
    accuracy: Accuracy = None,
    window: Annotated[
        str,
        typer.Option(metavar="layer=NAME|cycles=A:B", help="Part of the run's trace to draw."),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="File to write.")] = None,
) -> None:
    """Build a run's report again, or merge several runs into one comparison."""
    run_report(runs, format, out, accuracy, window)


def run_report(
    folders: list[Path],
    format_: str,
    out: Path | None,
    trained: Path | None = None,
    window: str = "",
) -> None:
    """``weft report``: one run's into its folder, several runs' beside their folders.

    ``window`` is the part of one run's trace that its page draws.
    """
    if window and (len(folders) > 1 or format_ != "html"):
        raise ValueError("--window is for the html report of one run")
    runs = in_order([read_run(folder) for folder in folders])
    target = out or _report_place(folders) / f"report.{format_}"
    entries = _timeline(folders[0], window) if len(folders) == 1 and format_ == "html" else []
    export(runs, format_, target, [] if trained is None else read_accuracy(trained), entries)
    tell(f"report: {target}")


def _report_place(folders: list[Path]) -> Path:
    """A run's own folder; of several runs the one that all lie in, else the current one."""
    if len(folders) == 1:
        return folders[0]
    parents = {folder.absolute().parent for folder in folders}
    return folders[0].parent if len(parents) == 1 else Path()


def _timeline(folder: Path, window: str) -> list[Entry]:
    if window:
        return read_timeline(folder, parse_window(window))
    try:
        return read_timeline(folder)
    except ReportError as error:
        tell(f"weft: no timeline in the report: {error}")
        return []
