"""A report's charts as one PNG, drawn by the Chromium or Chrome that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from weft.reports.accuracy import Accuracy
from weft.reports.charts import Chart
from weft.reports.comparison import run_title
from weft.reports.comparison_charts import comparison_charts
from weft.reports.page import render_page
from weft.reports.run_charts import run_charts
from weft.reports.writing import ReportError, write_atomically
from weft.sim.results import RunResult

__all__ = ["find_browser", "write_picture"]

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_WIDTH_PX, _HEADER_PX, _TITLE_PX = 1200, 80, 56
_PATIENCE_S = 120


def find_browser() -> str | None:
    """The browser that draws: the first of a few names on the PATH."""
    return next((path for name in _BROWSERS if (path := shutil.which(name))), None)


def write_picture(runs: Sequence[RunResult], path: Path, accuracy: Sequence[Accuracy] = ()) -> None:
    """Draw the charts of a run, or of several compared, into a PNG.

    Raises:
        ReportError: no browser, one that fails, or a place that cannot be written.
    """
    browser = find_browser()
    if browser is None:
        raise ReportError(
            f"cannot write {path}: png needs Chromium or Chrome on the PATH "
            f"({', '.join(_BROWSERS)}); html works without"
        )
    charts = run_charts(runs[0]) if len(runs) == 1 else comparison_charts(runs, accuracy)
    title = run_title(runs[0]) if len(runs) == 1 else f"{len(runs)} runs compared"
    page = render_page("picture.html", charts, title=title, shown=charts)
    write_atomically(path, lambda target: _screenshot(browser, page, _height(charts), target, path))


def _height(charts: Sequence[Chart]) -> int:
    return _HEADER_PX + sum(int(chart.layout["height"]) + _TITLE_PX for chart in charts)


def _screenshot(browser: str, page: str, height: int, target: Path, place: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="weft-") as folder:
        source, image = Path(folder) / "page.html", Path(folder) / "page.png"
        source.write_text(page, encoding="utf-8", errors="backslashreplace")
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
            f"--window-size={_WIDTH_PX},{height}",
            "--virtual-time-budget=20000",
            f"--screenshot={image}",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            source.as_uri(),
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            raise ReportError(f"cannot write {place}: {browser} failed: {error}") from error
        if not image.is_file():
            raise ReportError(f"cannot write {place}: {browser} drew nothing")
        shutil.copyfile(image, target)
