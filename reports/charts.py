"""A chart: what plotly draws, and the table of numbers behind it.

Charts are plain data in plotly's own JSON form, so a page needs no plotly in Python; ``figure``
makes the object that notebooks show.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weft.reports.units import shown

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = [
    "CAUSE_COLOURS",
    "STAGE_COLOURS",
    "Cell",
    "Chart",
    "axis",
    "bars",
    "csv_text",
    "label",
    "layout",
    "named_axis",
]

Cell = str | int | float | bool | None

_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_PINK, _SKY, _GREY = "#CC79A7", "#56B4E9", "#8a8a8a"

STAGE_COLOURS: Mapping[str, str] = {
    "ff": _BLUE,
    "bp": _ORANGE,
    "wu": _GREEN,
    "optimizer": _RED,
    "sore": _PINK,
    "vector": _SKY,
}
"""Colours that stay apart for colour-blind readers and on light and dark (Okabe and Ito, 2008)."""

CAUSE_COLOURS: Mapping[str, str] = {
    "compute": _BLUE,
    "busy": _BLUE,
    "time": _BLUE,
    "memory": _RED,
    "dependency": _ORANGE,
    "fill/drain": _PINK,
    "buffer": _SKY,
    "other": _GREEN,
    "idle": _GREY,
}


@dataclass(frozen=True)
class Chart:
    """One figure with its data.

    ``traces`` and ``layout`` are plotly's; ``header`` and ``rows`` what they show; ``caption``
    one or two sentences on how to read it. ``zoom``: whether its x axis is worth zooming.
    """

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any] = field(default_factory=dict[str, Any])
    zoom: bool = False

    @property
    def csv(self) -> str:
        return csv_text(self.header, self.rows)

    def figure(self) -> Figure:
        """The plotly figure, as notebooks show it."""
        from plotly.graph_objects import Figure

        return Figure(
            {"data": list(self.traces), "layout": {**self.layout, "title": {"text": self.title}}}
        )


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table as CSV; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def label(text: str, longest: int = 40) -> str:
    """``text`` for plotly, which takes tags for markup: escaped, its middle left out if long."""
    text = shown(text)
    if len(text) > longest:
        half = (longest - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return html.escape(text, quote=False)


def layout(height: int, **more: Any) -> dict[str, Any]:
    """What all charts share: room for labels, legend above, no background of their own."""
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 12, "r": 24, "t": 36 if more.get("showlegend", True) else 8, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "hoverlabel": {"align": "left"},
        "dragmode": False,
    }
    return base | more


def bars(
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    *,
    unit: str,
    colours: Mapping[str, str] = CAUSE_COLOURS,
) -> list[dict[str, Any]]:
    """Stacked horizontal bars, the first name on top; parts that are all zero are left out."""
    places = list(range(len(names)))
    return [
        {
            "type": "bar",
            "orientation": "h",
            "y": places,
            "x": list(values),
            "name": part,
            "customdata": [label(name, 80) for name in names],
            "marker": {"color": colours.get(part, _GREY)},
            "hovertemplate": f"%{{customdata}}<br>{part}: %{{x:.4~s}}{unit}<extra></extra>",
        }
        for part, values in parts.items()
        if any(values)
    ]


def axis(title: str, **more: Any) -> dict[str, Any]:
    """A numeric axis with its quantity written at it."""
    return {"title": {"text": title}, "automargin": True, **more}


def named_axis(names: Sequence[str]) -> dict[str, Any]:
    """A y axis of names, top to bottom; equal names keep bars of their own."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [label(name, 48) for name in names],
        "autorange": "reversed",
        "automargin": True,
        "zeroline": False,
        "showgrid": False,
    }
