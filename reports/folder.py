"""The run folder: what a simulation leaves behind, and reading it back.

``run.json`` is the result, ``layers.parquet`` its layer table, ``report.html`` the report and
``trace.perfetto.json`` a window of the timeline. Everything is written into a temporary folder
first and moved into place when it is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from weft.reports.checking import find_fault
from weft.reports.writing import (
    ReportError,
    failing_clearly,
    temporary_name,
    write_text_atomically,
)
from weft.sim.results import ResultError, RunResult

if TYPE_CHECKING:
    import pyarrow as pa

    from weft.reports.entries import Entry
    from weft.reports.window import Window
    from weft.sim.engine import Slice

__all__ = ["FILES", "ReportError", "read_layers", "read_run", "read_timeline", "write_run"]

FILES = ("layers.parquet", "report.html", "trace.perfetto.json", "run.json")
"""What a run folder may hold; ``run.json`` alone makes it one and is put there last."""

_Writer = Callable[[Path], None]


def write_run(
    folder: Path, run: RunResult, slices: Sequence[Slice] = (), *, html: bool = True
) -> None:
    """Write the run folder; the files of an earlier run in it are replaced, others stay.

    Args:
        folder: created if need be, with its parents.
        run: the result.
        slices: timeline entries (``Engine.timeline``) for the trace and the report.
        html: whether to write ``report.html``.

    Raises:
        ReportError: the folder cannot be written; nothing half-written is left.
    """
    with failing_clearly(folder):
        if folder.exists() and not folder.is_dir():
            raise ReportError(f"cannot write {folder}: it is a file; a folder is needed")
        parents = _make_parents(folder)
        try:
            _write_all(folder, _writers(run, slices, html=html))
        except BaseException:
            for parent in parents:
                with contextlib.suppress(OSError):
                    parent.rmdir()
            raise


def _writers(run: RunResult, slices: Sequence[Slice], *, html: bool) -> dict[str, _Writer]:
    writers: dict[str, _Writer] = {
        "layers.parquet": lambda path: _write_layers(path, run),
        "trace.perfetto.json": lambda path: _write_trace(path, run, slices),
        "run.json": lambda path: _write_json(path, run),
    }
    if html:
        writers["report.html"] = lambda path: _write_html(path, run, slices)
    return writers


def _make_parents(folder: Path) -> list[Path]:
    """Create what is missing above ``folder``; the new folders, innermost first."""
    missing = [parent for parent in folder.absolute().parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _write_all(folder: Path, writers: dict[str, _Writer]) -> None:
    """Write everything aside, then move it into place: a new folder in one step."""
    new = not folder.exists()
    temporary = (folder.absolute().parent if new else folder) / temporary_name()
    temporary.mkdir()
    try:
        for name, write in writers.items():
            write(temporary / name)
        if new:
            temporary.rename(folder)
        else:
            _replace_files(temporary, folder, writers)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_files(temporary: Path, folder: Path, writers: dict[str, _Writer]) -> None:
    for name in FILES:
        if name in writers:
            os.replace(temporary / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _write_json(path: Path, run: RunResult) -> None:
    write_text_atomically(path, json.dumps(run.to_json(), indent=1, allow_nan=False) + "\n")


def _write_html(path: Path, run: RunResult, slices: Sequence[Slice]) -> None:
    from weft.reports.entries import entry_of
    from weft.reports.html import render_report

    write_text_atomically(path, render_report(run, [entry_of(part) for part in slices]))


def _write_trace(path: Path, run: RunResult, slices: Sequence[Slice]) -> None:
    from weft.reports.perfetto import render_trace

    write_text_atomically(path, render_trace(run, slices))


def _write_layers(path: Path, run: RunResult) -> None:
    from weft.reports.parquet import layers_file

    path.write_bytes(layers_file([run]))


def read_run(folder: Path) -> RunResult:
    """The result in a run folder; only its ``run.json`` is needed.

    Raises:
        ReportError: no such folder, no run in it, or a run that is damaged or of another version.
    """
    path = folder / "run.json"
    if not folder.is_dir():
        problem = "it is a file" if folder.exists() else "it does not exist"
        raise ReportError(f"{folder} is no run folder: {problem}")
    if not path.is_file():
        raise ReportError(f"{folder} is no run folder: it has no run.json")
    with failing_clearly(path, "read"):
        content = path.read_bytes()
    return _parse_run(content, path)


def _parse_run(content: bytes, path: Path) -> RunResult:
    try:
        run = RunResult.from_json(json.loads(content, parse_constant=_refuse))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ReportError(f"cannot read {path}: truncated or no JSON: {error}") from error
    except RecursionError as error:
        raise ReportError(f"cannot read {path}: nested too deeply") from error
    except ResultError as error:
        raise ReportError(f"cannot read {path}: {error}") from error
    fault = find_fault(run, RunResult)
    if fault:
        raise ReportError(f"cannot read {path}: damaged run: {fault}")
    return run


def _refuse(name: str) -> NoReturn:
    raise ResultError(f"damaged run: {name} is no number")


def read_timeline(folder: Path, window: Window | None = None) -> list[Entry]:
    """The timeline entries in a run folder's trace, or those of a window in it.

    Raises:
        ReportError: the trace is damaged, or holds nothing of the window.
    """
    from weft.reports.perfetto import read_trace
    from weft.reports.window import window_entries

    path = folder / "trace.perfetto.json"
    entries = read_trace(path)
    if window is None:
        return entries
    found = window_entries(entries, window)
    if not found:
        held = f"{entries[0].start} to {entries[-1].occupied_until}" if entries else "none"
        raise ReportError(
            f"{path} has nothing of that window (cycles: {held}); "
            "weft simulate --window puts another into it"
        )
    return found


def read_layers(folder: Path) -> pa.Table:
    """The layer table of a run folder, as pyarrow reads it.

    Raises:
        ReportError: the table is missing or damaged (``run.json`` has the same rows).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "layers.parquet"
    if not path.is_file():
        raise ReportError(
            f"cannot read {path}: it is missing; weft report {folder} --format parquet "
            "makes it anew from run.json"
        )
    try:
        with failing_clearly(path, "read"):
            return pq.read_table(path)
    except pa.ArrowException as error:
        raise ReportError(f"cannot read {path}: damaged: {error}") from error
