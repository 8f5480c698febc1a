"""The run folder: what a simulation leaves behind, and reading it back.

``run.json`` is the result, ``layers.parquet`` its layer table, ``report.html`` the report and
``trace.perfetto.json`` a window of the timeline. Everything is written into a temporary folder
beside the target and moved into place when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from weft.sim.engine import Slice
from weft.sim.results import ResultError, RunResult

__all__ = ["ReportError", "read_run", "write_run"]


class ReportError(ValueError):
    """A run folder that cannot be read or written."""


def write_run(folder: Path, run: RunResult, slices: Sequence[Slice] = ()) -> None:
    """Write the run folder; files of an earlier run in it are replaced.

    Raises:
        ReportError: the folder cannot be written; nothing half-written is left.
    """
    from weft.reports.html import render_report
    from weft.reports.perfetto import render_trace

    parts: dict[str, Callable[[Path], None]] = {
        "run.json": lambda path: _write(path, json.dumps(run.to_json(), indent=1)),
        "layers.parquet": lambda path: _write_layers(path, run),
        "report.html": lambda path: _write(path, render_report(run)),
        "trace.perfetto.json": lambda path: _write(path, render_trace(run, slices)),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ReportError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        for name, write in parts.items():
            write(temporary / name)
        folder.mkdir(exist_ok=True)
        for name in parts:
            os.replace(temporary / name, folder / name)
    except OSError as error:
        raise ReportError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_layers(path: Path, run: RunResult) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(run.to_json()["layers"])
    pq.write_table(table, path)


def read_run(folder: Path) -> RunResult:
    """The result in a run folder.

    Raises:
        ReportError: no such folder, no run in it, or a run that is damaged or of another version.
    """
    path = folder / "run.json"
    if not folder.is_dir():
        raise ReportError(f"{folder} is no run folder: it does not exist")
    if not path.is_file():
        raise ReportError(f"{folder} is no run folder: it has no run.json")
    try:
        return RunResult.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ReportError(f"{path} cannot be read: {error}") from error
    except ResultError as error:
        raise ReportError(f"{path}: {error}") from error
