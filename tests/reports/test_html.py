"""The page holds every name as text and nothing else, needs no network, and stays small."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from tests.reports.runs import RUNS, big_run
from tests.reports.slices import big_entries
from weft.reports.comparison_html import render_comparison
from weft.reports.html import render_report
from weft.reports.notebook import run_html
from weft.reports.run_charts import run_charts
from weft.reports.tables import layer_table, stage_table, without_empty
from weft.reports.timeline import DRAWN, timeline
from weft.reports.validation import validation_lines
from weft.sim.results import RunResult

LIMIT_BYTES = 6_000_000
FEW = settings(deadline=None, max_examples=25)


class Page(HTMLParser):
    """Elements, attributes and the texts of a page, as a browser would take them apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.scripts: list[str] = []
        self.headers: dict[str, list[str]] = {}
        self._table = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "table":
            self._table = found.get("id") or ""
        if tag == "script":
            self.scripts.append("")
        row = tag == "th" and found.get("scope") == "row"
        if row:
            self.headers.setdefault(self._table, []).append("")
        self._open.append("row" if row else tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() not in (tag, "row"):
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open and self._open[-1] == "row":
            self.headers[self._table][-1] += data


TAGS = set(Page(render_report(big_run(6, 6), big_entries(20))).tags) | {"ul", "li", "details"}
COMPARISON_TAGS = set(Page(render_comparison([big_run(2, 2), big_run(2, 2, "dense")])).tags)


@FEW
@given(run=RUNS)
def test_any_name_is_only_text(run: RunResult) -> None:
    page = Page(render_report(run))
    assert set(page.tags) <= TAGS
    assert page.tags.count("script") == 3
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    layers = sorted(run.layers, key=lambda layer: layer.time_s, reverse=True)
    assert page.headers.get("layer-table", []) == [layer.name for layer in layers]
    figures = json.loads(page.scripts[0])
    assert [figure["name"] for figure in figures] == [chart.name for chart in run_charts(run)]


@FEW
@given(run=RUNS, other=RUNS)
def test_any_runs_can_be_compared(run: RunResult, other: RunResult) -> None:
    page = Page(render_comparison([run, other, run]))
    assert set(page.tags) <= COMPARISON_TAGS | {"ul", "li"}
    assert page.tags.count("script") == 3
    assert page.headers["comparison-table"] == [run.model, other.model, run.model]


@FEW
@given(run=RUNS)
def test_notebooks_get_only_text(run: RunResult) -> None:
    tags = {"div", "b", "br", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(Page(run_html(run)).tags) <= tags


def test_names_become_no_markup_in_charts() -> None:
    """Plotly takes tags in labels for markup, so they are escaped a second time for it."""
    run = big_run(1, 0)
    layer = dataclasses.replace(run.layers[0], name="<a href='x'>y</a>")
    charts = run_charts(dataclasses.replace(run, layers=(layer,)))
    shown = json.dumps([[chart.traces, chart.layout] for chart in charts])
    assert "<a" not in shown
    assert "&lt;a href='x'&gt;y&lt;/a&gt;" in shown


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(big_run(), big_entries(20_000))


def test_a_large_network_stays_small(page: str) -> None:
    assert len(page.encode()) < LIMIT_BYTES


def test_nothing_is_fetched(page: str) -> None:
    """No address in the page's own text, only local links, and a policy against all requests."""
    assert "http:" not in page
    assert "https:" not in page
    found = Page(page)
    links = [value or "" for _, name, value in found.attributes if name in ("href", "src")]
    assert links
    assert all(link.startswith(("#", "data:text/csv")) for link in links)
    assert "link" not in found.tags
    policy = next(value for _, name, value in found.attributes if name == "content" and value)
    assert "default-src 'none'" in policy


def test_every_chart_has_its_numbers_behind_a_link(page: str) -> None:
    run = big_run()
    downloads = dict(re.findall(r'download="([^"]*)" href="data:[^,]*,([^"]*)"', page))
    for chart in [*run_charts(run), timeline(big_entries(20_000))]:
        assert base64.b64decode(downloads[f"{chart.name}.csv"]).decode() == chart.csv
        rows = list(csv.reader(io.StringIO(chart.csv)))
        assert len(rows) == 1 + len(chart.rows)
    for table in (layer_table(run), stage_table(run)):
        assert base64.b64decode(downloads[f"{table.name}.csv"]).decode() == table.csv


def test_all_sections_are_there_and_linked(page: str) -> None:
    sections = set(re.findall(r'<section id="([^"]*)"', page))
    linked = set(re.findall(r'<li><a href="#([^"]*)"', page))
    assert linked == sections
    assert linked == {
        "summary",
        "breakdown",
        "layers",
        "products",
        "units",
        "window",
        "joules",
        "changes",
        "uncosted",
        "validation",
    }


def test_what_a_run_does_not_have_is_not_shown() -> None:
    """A GPU's run: no units, no what-if, no timeline, and nothing made up in their place."""
    run = dataclasses.replace(
        big_run(3, 3), units=(), what_if=(), critical_path_cycles={}, machine={}, provenance={}
    )
    page = render_report(run)
    for section in ("units", "window", "changes"):
        assert f'id="{section}"' not in page
    assert "The run does not carry its machine" in page


def test_a_table_leaves_out_what_nobody_knows() -> None:
    run = big_run(3, 3)
    layers = tuple(
        dataclasses.replace(layer, cycles=None, dataflow=None, tile=None) for layer in run.layers
    )
    full = layer_table(dataclasses.replace(run, layers=layers))
    found = without_empty(full, ("name", "why"))
    left_out = {key for key, _ in full.header} - {key for key, _ in found.header}
    assert {"cycles", "dataflow", "tile", "memory_stall_cycles"} <= left_out
    assert "why" not in left_out
    kept = [place for place, (key, _) in enumerate(full.header) if key not in left_out]
    assert [list(row) for row in found.rows] == [
        [row[place] for place in kept] for row in full.rows
    ]
    assert all(
        row[place].value is None
        for row in full.rows
        for place in range(len(row))
        if full.header[place][0] in left_out
    )


def test_layers_come_with_the_costliest_first() -> None:
    times = [float(row[4].value or 0) for row in layer_table(big_run()).rows]
    assert times == sorted(times, reverse=True)
    assert len(times) == 560


def test_parts_of_the_stages_add_up() -> None:
    run = big_run()
    chart = next(chart for chart in run_charts(run) if chart.name == "stages")
    for row in chart.rows:
        numbers = [float(value or 0) for value in row[1:]]
        assert sum(numbers[1:]) == pytest.approx(numbers[0])


def test_every_product_is_a_point_under_its_roof() -> None:
    run = big_run()
    chart = next(chart for chart in run_charts(run) if chart.name == "roofline")
    assert len(chart.rows) == 160
    roofs = {trace["name"]: trace for trace in chart.traces if trace["mode"] == "lines"}
    assert max(roofs["roof, dense"]["y"]) == pytest.approx(2 * 32 * 32 * 0.2)
    assert max(roofs["roof, 2:8"]["y"]) == pytest.approx(4 * 2 * 32 * 32 * 0.2)
    for _, _, pattern, _, gops in chart.rows:
        assert float(gops or 0) <= max(roofs[f"roof, {pattern}"]["y"]) * (1 + 1e-9)


def test_gpus_have_roofs_too() -> None:
    board = {"product_flop_s": 1e15, "memory_bytes_s": 3e12, "gpus": 2, "dtype": "bf16"}
    run = dataclasses.replace(big_run(), machine=board)
    chart = next(chart for chart in run_charts(run) if chart.name == "roofline")
    roofs = {trace["name"]: trace for trace in chart.traces if trace["mode"] == "lines"}
    dense = roofs["roof, dense"]
    for x, y in zip(dense["x"], dense["y"], strict=True):
        assert y == pytest.approx(min(2e6, 6e3 * x))


def test_units_are_told_for_the_whole_run() -> None:
    run = big_run()
    chart = next(chart for chart in run_charts(run) if chart.name == "stalls")
    for row in chart.rows:
        assert sum(int(value or 0) for value in row[1:]) == run.total.cycles


def test_validation_says_what_the_run_says_and_no_more() -> None:
    run = big_run(20, 0)
    assert validation_lines(run) == [
        ("cycles", "engine = plain stepping"),
        (
            "schedules",
            "17 of 20 products proven optimal over their declared map space; the others are at "
            "most 0.00% above their lower bound",
        ),
    ]
    silent = dataclasses.replace(run, provenance={"command": "x"}, layers=())
    assert validation_lines(silent) == []
    assert "The run does not say." in render_report(silent)
    more = dataclasses.replace(silent, provenance={"validated_energy": "tables"})
    assert validation_lines(more) == [("energy", "tables")]


def test_charts_are_what_plotly_takes() -> None:
    for chart in [*run_charts(big_run()), timeline(big_entries(100))]:
        figure = chart.figure()
        assert len(figure.to_dict()["data"]) == len(chart.traces)
        assert figure.layout.title.text == chart.title


def test_the_timeline_says_what_it_leaves_out() -> None:
    chart = timeline(big_entries(DRAWN + 7))
    assert len(chart.rows) == DRAWN
    assert "The Perfetto trace has 7 more." in chart.caption
