"""The pages in a real browser: drawn without an error or a request, sorted, filtered, zoomed.

Runs where Playwright and Chromium are installed (``make browser-test`` installs the former).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.reports.runs import big_run
from tests.reports.slices import big_entries
from weft.reports.comparison_html import render_comparison
from weft.reports.html import render_report
from weft.reports.picture import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
if find_browser() is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

SCREENS = [(400, "light"), (400, "dark"), (1600, "light"), (1600, "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=find_browser(), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    runs = [big_run(4, 30, "dense"), big_run(4, 30)]
    texts = {
        "report": render_report(big_run(8, 40), big_entries(300)),
        "comparison": render_comparison(runs),
    }
    paths = {name: folder / f"{name}.html" for name in texts}
    for name, path in paths.items():
        path.write_text(texts[name], encoding="utf-8")
    return paths


@contextmanager
def opened(
    browser: Browser, path: Path, width: int = 1200, scheme: Any = "light"
) -> Iterator[Page]:
    """The page, drawn; whatever it logged or asked for fails the test."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("file:", "data:", "blob:"))
            else faults.append(f"request: {request.url}")
        ),
    )
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn]", timeout=60_000)
    yield page
    assert faults == []
    context.close()


def first_column(page: Page, table: str, column: int = 0) -> list[str]:
    return page.eval_on_selector_all(
        f"#{table} tbody tr",
        "(rows, column) => rows.filter(row => !row.hidden).map(row => row.cells[column].innerText)",
        column,
    )


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_fits_the_screen_and_draws_every_chart(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    with opened(browser, pages[name], width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        charts = page.locator(".chart")
        assert charts.count() >= 3
        for index in range(charts.count()):
            chart = charts.nth(index)
            box = chart.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["height"] > 100
            assert chart.locator("svg.main-svg").count() > 0
        assert page.locator(".failed").count() == 0


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize("width", [400, 1600])
def test_labels_are_whole_and_apart(
    browser: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    """Of every chart: no label is cut off at its sides, none lies over another of its axis."""
    with opened(browser, pages[name], width) as page:
        faults = page.evaluate(
            """() => {
              const found = [];
              for (const chart of document.querySelectorAll(".chart")) {
                const frame = chart.getBoundingClientRect();
                for (const kind of ["xtick", "ytick", "legendtext"]) {
                  const own = [...chart.querySelectorAll(
                    kind === "legendtext" ? ".legendtext" : `.${kind} text`
                  )].filter(text => text.textContent);
                  const boxes = own.map(text => text.getBoundingClientRect());
                  boxes.forEach((box, i) => {
                    if (box.left < frame.left - 1 || box.right > frame.right + 1)
                      found.push(`${chart.id}: ${kind} ${own[i].textContent} is cut off`);
                    for (const other of boxes.slice(i + 1)) {
                      const wide =
                        Math.min(box.right, other.right) - Math.max(box.left, other.left);
                      const high =
                        Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
                      if (wide > 2 && high > 4)
                        found.push(`${chart.id}: ${kind} ${own[i].textContent} is lain over`);
                    }
                  });
                }
              }
              return found;
            }"""
        )
        assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(
    browser: Browser, pages: dict[str, Path], scheme: str
) -> None:
    """At least 4.5 to 1, WCAG 2 level AA, of text and of axis labels."""
    with opened(browser, pages["report"], 1200, scheme) as page:
        ratios = page.evaluate(
            """() => {
              const parse = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
              const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
              const light = rgb => {
                const [r, g, b] = rgb.map(v => linear(v / 255));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const back = light(parse(getComputedStyle(document.body).backgroundColor));
              const against = value => {
                const own = light(parse(value));
                return (Math.max(own, back) + 0.05) / (Math.min(own, back) + 0.05);
              };
              const style = selector => getComputedStyle(document.querySelector(selector));
              const texts = ["body", "figcaption", "a", "dt"].map(name => style(name).color);
              const label = style(".xtick text").fill;
              return [...texts, label].map(against);
            }"""
        )
        assert min(ratios) >= 4.5


def test_sorts_with_the_mouse_and_with_the_keyboard(
    browser: Browser, pages: dict[str, Path]
) -> None:
    with opened(browser, pages["report"]) as page:
        head = page.locator("#layer-table thead th").first
        button = head.locator("button")
        button.click()
        ascending = first_column(page, "layer-table")
        assert head.get_attribute("aria-sort") == "ascending"
        button.focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert sorted(first_column(page, "layer-table")) == sorted(ascending)
        assert first_column(page, "layer-table")[0] == ascending[-1]


def test_filters_and_sums(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["report"]) as page:
        everything = len(first_column(page, "layer-table"))
        form = page.locator("form[data-filter=layer-table]")
        form.locator("select[name=stage]").select_option("wu")
        stages = first_column(page, "layer-table", 1)
        assert 0 < len(stages) < everything
        assert set(stages) == {"wu"}
        told = form.locator("output").inner_text()
        assert told.startswith(f"{len(stages)} of {everything} rows")
        form.locator("input[name=words]").fill("no such layer")
        assert first_column(page, "layer-table") == []


def test_filters_a_comparison_by_the_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["comparison"]) as page:
        form = page.locator("form[data-filter=comparison-table]")
        form.locator("input[name=words]").focus()
        page.keyboard.type("bdwp")
        assert first_column(page, "comparison-table", 1) == ["bdwp"]
        assert form.locator("output").inner_text() == "1 of 2 rows"
        page.keyboard.press("Enter")  # sends nothing and leaves the page as it is
        assert first_column(page, "comparison-table", 1) == ["bdwp"]


def test_follows_the_system_from_light_to_dark(browser: Browser, pages: dict[str, Path]) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "document.getElementById('stages')._fullLayout.font.color"
    with opened(browser, pages["report"]) as page:
        light = page.evaluate(ground), page.evaluate(ink)
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(500)
        assert page.evaluate(ground) != light[0]
        assert page.evaluate(ink) != light[1]


def test_zooms_the_timeline_by_buttons(browser: Browser, pages: dict[str, Path]) -> None:
    def shown(page: Page) -> list[float]:
        return page.evaluate("document.getElementById('timeline')._fullLayout.xaxis.range")

    with opened(browser, pages["report"]) as page:
        before = shown(page)
        tools = page.locator("[data-zoom=timeline]")
        tools.locator("[data-step=in]").focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
        low, high = shown(page)
        assert high - low == pytest.approx((before[1] - before[0]) / 2)
        tools.locator("[data-step=all]").click()
        page.wait_for_timeout(100)
        assert shown(page) == pytest.approx(before)


def test_every_chart_gives_its_data(browser: Browser, pages: dict[str, Path]) -> None:
    with opened(browser, pages["report"]) as page:
        figures = page.locator("figure")
        for index in range(figures.count()):
            with page.expect_download() as download:
                figures.nth(index).locator("a.download").click()
            text = Path(str(download.value.path())).read_text(encoding="utf-8")
            assert len(text.splitlines()) >= 2


def test_readers_find_their_way(browser: Browser, pages: dict[str, Path]) -> None:
    """Landmarks, headings without gaps, names on all controls, a way past the header."""
    with opened(browser, pages["report"]) as page:
        assert page.locator("main").count() == page.locator("h1").count() == 1
        levels = page.eval_on_selector_all("h1, h2, h3", "all => all.map(h => +h.tagName[1])")
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        unnamed = page.eval_on_selector_all(
            "button, input, select",
            """all => all.filter(
              e => !e.innerText && !(e.labels && e.labels.length) && !e.ariaLabel
            ).length""",
        )
        assert unnamed == 0
        targets = page.eval_on_selector_all(
            "nav a", "all => all.map(a => !!document.querySelector(a.getAttribute('href')))"
        )
        assert all(targets)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
