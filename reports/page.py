"""One offline HTML file from a template, charts and tables: no build step, nothing fetched.

Plotly is inside, compressed; the page unpacks it. A content security policy forbids every request,
so a page that is passed on tells nobody that it was opened.
"""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.resources
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weft.reports.charts import Chart

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["plotly_source", "render_page"]

_SMALL_TABLE = 40
"""Rows up to which a chart's data are also a table on the page."""


def render_page(template: str, charts: Sequence[Chart], **context: Any) -> str:
    """The page as text; every name in it is escaped.

    Args:
        template: a file of ``templates/``.
        charts: what the page draws; the template places each by name.
        context: what else the template shows.
    """
    environment = _environment()
    return environment.get_template(template).render(
        charts={chart.name: chart for chart in charts},
        figures=_embedded(charts),
        style=_source(environment, "page.css"),
        script=_source(environment, "page.js"),
        plotly=_plotly(),
        small_table=_SMALL_TABLE,
        **context,
    )


@functools.cache
def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("weft.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["data_uri"] = _data_uri
    return environment


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _data_uri(text: str) -> str:
    """A CSV that a link holds itself; base64, so that no text can break out of it."""
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.encode()).decode()


def _embedded(charts: Sequence[Chart]) -> str:
    """Traces and layouts as JSON that cannot end its script element."""
    figures = [
        {
            "name": chart.name,
            "data": list(chart.traces),
            "layout": dict(chart.layout),
            "zoom": chart.zoom,
        }
        for chart in charts
    ]
    return json.dumps(figures, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def plotly_source() -> str:
    """The JavaScript of the installed plotly."""
    files = importlib.resources.files("plotly")
    return (files / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


@functools.cache
def _plotly() -> str:
    """Plotly's JavaScript, gzip and base64: a third of its size."""
    packed = gzip.compress(plotly_source().encode(), compresslevel=6, mtime=0)
    return base64.b64encode(packed).decode()
