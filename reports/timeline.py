"""A window of the timeline as a chart: one row per unit, instructions and the waits before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weft.reports.charts import (
    CAUSE_COLOURS,
    STAGE_COLOURS,
    Cell,
    Chart,
    axis,
    label,
    layout,
    named_axis,
)
from weft.reports.entries import Entry
from weft.sim.program import Queue

__all__ = ["DRAWN", "timeline"]

DRAWN = 1500
"""Instructions that a page draws: about a second of a browser's time."""

_HEADER = (
    "unit",
    "layer",
    "stage",
    "instruction",
    "work",
    "start_cycle",
    "occupied_until_cycle",
    "finish_cycle",
    "stall_cycles",
    "stall_cause",
)
_SHADES = (1.0, 0.75)  # neighbours stay apart without outlines, which would hide short ones
_UNITS = tuple(queue.name.lower() for queue in Queue)


def timeline(entries: Sequence[Entry], limit: int = DRAWN) -> Chart:
    """The first ``limit`` instructions, coloured by stage, with the waits by cause before them."""
    drawn = entries[:limit]
    left_out = len(entries) - len(drawn)
    caption = (
        f"The first {len(drawn):,} instructions of the window in program order; thin bars are "
        "waits, by cause. Drag or use the buttons to zoom."
    )
    if left_out:
        caption += f" The Perfetto trace has {left_out:,} more."
    return Chart(
        "timeline",
        "Timeline",
        caption,
        _HEADER,
        [_row(entry) for entry in drawn],
        [*_work_traces(drawn), *_stall_traces(drawn)],
        layout(
            420,
            barmode="overlay",
            bargap=0.2,
            dragmode="zoom",
            xaxis=axis("cycle"),
            yaxis={
                **named_axis(_UNITS),
                "fixedrange": True,
                "range": [4.6, -0.6],
                "autorange": False,
            },
        ),
        zoom=True,
    )


def _row(entry: Entry) -> tuple[Cell, ...]:
    return (
        entry.unit,
        entry.layer,
        entry.stage,
        entry.name,
        _work(entry),
        entry.start,
        entry.occupied_until,
        entry.finish,
        entry.stall_cycles,
        entry.cause,
    )


def _work(entry: Entry) -> str:
    return "; ".join(f"{key} {value}" for key, value in entry.work.items())


def _work_traces(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    by_stage: dict[str, list[Entry]] = {}
    for entry in entries:
        stage = entry.stage if entry.stage in STAGE_COLOURS else "other"
        by_stage.setdefault(stage, []).append(entry)
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": stage,
            "y": [_UNITS.index(entry.unit) for entry in own],
            "base": [entry.start for entry in own],
            "x": [entry.occupied_until - entry.start for entry in own],
            "text": [_hover(entry) for entry in own],
            "textposition": "none",
            "width": 0.7,
            "marker": {
                "color": STAGE_COLOURS.get(stage, CAUSE_COLOURS["idle"]),
                "opacity": [_SHADES[index % 2] for index in range(len(own))],
            },
            "hovertemplate": "%{text}<extra></extra>",
        }
        for stage, own in by_stage.items()
    ]


def _hover(entry: Entry) -> str:
    return (
        f"{label(entry.layer, 60)} {label(entry.stage)}<br>{label(entry.name, 60)}"
        f"<br>{label(_work(entry), 80)}<br>cycles {entry.start:,} to {entry.occupied_until:,}, "
        f"done at {entry.finish:,}"
    )


def _stall_traces(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    by_cause: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.cause is not None and entry.stall_cycles:
            by_cause.setdefault(entry.cause, []).append(entry)
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": f"waits: {cause}",
            "y": [_UNITS.index(entry.unit) for entry in own],
            "base": [entry.start - entry.stall_cycles for entry in own],
            "x": [entry.stall_cycles for entry in own],
            "width": 0.16,
            "marker": {"color": CAUSE_COLOURS[cause], "opacity": 0.75},
            "hovertemplate": f"waits for %{{x:,}} cycles: {cause}<extra></extra>",
        }
        for cause, own in by_cause.items()
    ]
