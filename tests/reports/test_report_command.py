"""``weft report``: where its files go, what a rebuilt page keeps, what a damaged folder gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reports.runs import big_run
from tests.reports.slices import big_slices
from weft.cli.report import run_report
from weft.reports.folder import read_timeline, write_run
from weft.reports.window import parse_window


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """A dense and a sparse run, each in a folder of its own."""
    runs = {"dense": big_run(3, 3, "dense"), "sparse": big_run(3, 3)}
    for name, run in runs.items():
        write_run(tmp_path / "grid" / name, run, big_slices(300))
    return [tmp_path / "grid" / name for name in runs]


def test_a_rebuilt_report_is_the_one_that_the_run_wrote(folders: list[Path]) -> None:
    page = folders[1] / "report.html"
    written = page.read_bytes()
    page.unlink()
    run_report(folders[1:], "html", None)
    assert page.read_bytes() == written


def test_a_window_of_the_trace_is_drawn(folders: list[Path], tmp_path: Path) -> None:
    entries = read_timeline(folders[1], parse_window("cycles=0:20000"))
    assert 0 < len(entries) < 300
    run_report(folders[1:], "html", tmp_path / "x.html", window="cycles=0:20000")
    told = f"The first {len(entries):,} instructions of the window"
    assert told in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_several_runs_leave_their_own_reports_alone(folders: list[Path]) -> None:
    before = [(folder / "report.html").read_bytes() for folder in folders]
    run_report(folders, "html", None)
    assert [(folder / "report.html").read_bytes() for folder in folders] == before
    page = (folders[0].parent / "report.html").read_text(encoding="utf-8")
    assert "2 runs compared" in page


def test_runs_from_different_places_are_merged_here(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "other", big_run(3, 3))
    run_report([folders[0], tmp_path / "other"], "md", None)
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# 2 runs compared")


def test_a_damaged_trace_costs_the_timeline_alone(
    folders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    trace = folders[1] / "trace.perfetto.json"
    trace.write_bytes(trace.read_bytes()[:5000])
    run_report(folders[1:], "html", None)
    assert "no timeline in the report: cannot read" in capsys.readouterr().err
    page = (folders[1] / "report.html").read_text(encoding="utf-8")
    assert 'id="layers"' in page
    assert 'id="window"' not in page


@pytest.mark.parametrize(
    ("count", "format_", "window", "told"),
    [
        (1, "html", "cycles=900000000:900000001", "has nothing of that window"),
        (1, "html", "layer=", "allowed: layer=NAME"),
        (1, "md", "cycles=0:9", "--window is for the html report of one run"),
        (2, "html", "cycles=0:9", "--window is for the html report of one run"),
    ],
)
def test_windows_that_cannot_be(
    folders: list[Path], count: int, format_: str, window: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        run_report(folders[:count], format_, None, window=window)
