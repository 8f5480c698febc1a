"""Runs as files of every format, and what training reached beside them."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reports.runs import RUNS, big_run
from weft.reports import picture
from weft.reports.accuracy import Accuracy, read_accuracy
from weft.reports.compare import FORMATS, export
from weft.reports.comparison import distinct_titles
from weft.reports.comparison_charts import comparison_charts
from weft.reports.figures import RunFigures
from weft.reports.markdown import render_markdown
from weft.reports.writing import ReportError
from weft.sim.results import RunResult

FEW = settings(deadline=None, max_examples=25)
GRID = [big_run(6, 6, "dense"), big_run(6, 6, "bdwp")]


@pytest.mark.parametrize("format_", [name for name in FORMATS if name != "png"])
@pytest.mark.parametrize("count", [1, 2])
def test_every_format_writes_a_file(format_: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / f"report.{format_}"
    export(GRID[:count], format_, path)
    assert path.stat().st_size > 200
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(
        ReportError, match="unknown format 'pdf'; known: html, md, csv, parquet, png"
    ):
        export(GRID, "pdf", tmp_path / "x")


def test_no_runs(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no run"):
        export([], "html", tmp_path / "x")


@pytest.mark.parametrize("format_", [name for name in FORMATS if name != "png"])
def test_a_place_that_is_not_there(format_: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"cannot write .*gone/x: No such file or directory"):
        export(GRID, format_, tmp_path / "gone" / "x")


def test_a_picture_needs_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "find_browser", lambda: None)
    with pytest.raises(ReportError, match="png needs Chromium or Chrome on the PATH"):
        export(GRID, "png", tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_a_browser_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "find_browser", lambda: "/bin/false")
    with pytest.raises(ReportError, match="/bin/false failed"):
        export(GRID, "png", tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_layers_of_several_runs_are_told_apart(tmp_path: Path) -> None:
    export(GRID, "parquet", tmp_path / "x")
    rows = pq.read_table(tmp_path / "x").to_pylist()
    assert [row["run_recipe"] for row in rows] == ["dense"] * 12 + ["bdwp"] * 12
    assert [row["name"] for row in rows[:12]] == [layer.name for layer in GRID[0].layers]


def test_the_csv_of_several_runs_has_their_ratios(tmp_path: Path) -> None:
    export(GRID, "csv", tmp_path / "x")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x").read_text())))
    assert [row["recipe"] for row in rows] == ["dense", "bdwp"]
    assert float(rows[1]["speedup"]) == GRID[0].total.time_s / GRID[1].total.time_s
    assert float(rows[0]["speedup"]) == 1


@FEW
@given(runs=st.lists(RUNS, min_size=1, max_size=3))
def test_markdown_tables_keep_their_columns(runs: list[RunResult]) -> None:
    """Whatever the names: every line of a table has as many cells as its header, and no tag."""
    text = render_markdown(runs)
    assert "<" not in text
    widths: list[int] = []
    for line in text.splitlines():
        if not line.startswith("| "):
            widths = []
            continue
        widths.append(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)))
        assert widths[-1] == widths[0]


@given(runs=st.lists(RUNS, min_size=1, max_size=5))
@FEW
def test_titles_differ(runs: list[RunResult]) -> None:
    titles = distinct_titles(runs)
    assert len(set(titles)) == len(runs)


def test_titles_say_no_more_than_needed() -> None:
    other = dataclasses.replace(GRID[1], batch=7)
    assert distinct_titles(GRID) == ["dense", "bdwp 2:8"]
    assert distinct_titles([GRID[1], other]) == ["batch 256", "batch 7"]
    assert distinct_titles([GRID[0], GRID[0]]) == ["dense", "dense (2)"]


def test_the_comparison_draws_the_bound_on_each_bar() -> None:
    charts = {chart.name: chart for chart in comparison_charts(GRID)}
    assert set(charts) == {"speedups", "stages", "energy", "pareto"}
    bars, bound = charts["speedups"].traces
    dense, sparse = (run.total for run in GRID)
    assert bars["x"] == [dense.time_s / sparse.time_s]
    assert bound["x"] == [sparse.macs_dense / sparse.macs_done]
    for chart in charts.values():
        chart.figure()


def test_the_front_joins_what_nothing_beats() -> None:
    chart = next(chart for chart in comparison_charts(GRID) if chart.name == "pareto")
    assert [(row[0], row[4]) for row in chart.rows] == [("dense", False), ("bdwp 2:8", True)]


def result(model: str, recipe: str, metric: float) -> dict[str, object]:
    return {
        "schema": "weft-train-1",
        "settings": {"model": model, "recipe": recipe, "pattern": "2:8"},
        "metric_name": "test_accuracy",
        "metric": metric,
    }


def test_accuracy_of_training_folders(tmp_path: Path) -> None:
    for recipe, seed, metric in (("dense", 0, 0.9), ("bdwp", 0, 0.8), ("bdwp", 1, 0.9)):
        place = tmp_path / recipe / f"seed-{seed}"
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(result("resnet50", recipe, metric)))
    found = read_accuracy(tmp_path)
    assert found == [
        Accuracy("resnet50", "bdwp", "2:8", "test_accuracy", (0.8 + 0.9) / 2, 2),
        Accuracy("resnet50", "dense", "", "test_accuracy", 0.9, 1),
    ]
    charts = {chart.name: chart for chart in comparison_charts(GRID, found)}
    assert [row[2] for row in charts["accuracy"].rows] == [0.9, pytest.approx(0.85)]


def test_accuracy_of_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([{"recipe": "bdwp", "runs": [result("mlp", "bdwp", 0.5)]}]))
    assert read_accuracy(path) == [Accuracy("mlp", "bdwp", "2:8", "test_accuracy", 0.5, 1)]


@pytest.mark.parametrize("content", ["[3]", '{"schema": "x"}', "{", '[{"runs": [{}]}]'])
def test_files_that_are_no_training_result(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ReportError, match=r"cannot read .*x\.json"):
        read_accuracy(tmp_path / "x.json")


def test_folders_without_training_results(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="has no training result"):
        read_accuracy(tmp_path)


def test_notebooks_get_figures() -> None:
    plots = RunFigures(big_run(6, 6))
    for figure in (plots.breakdown(), plots.roofline(), plots.stalls(), plots.energy()):
        assert figure.to_dict()["data"]
    assert plots.timeline().layout.xaxis.title.text == "cycle"
