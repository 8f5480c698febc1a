"""A window of the timeline as a chart: one row per unit, instructions and the waits before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
from weft.reports.work import describe, layer_and_stage
from weft.sim.program import Queue

if TYPE_CHECKING:
    from weft.sim.engine import Slice

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


def timeline(slices: Sequence[Slice], limit: int = DRAWN) -> Chart:
    """The first ``limit`` instructions, coloured by stage, with the waits by cause before them."""
    drawn = slices[:limit]
    left_out = len(slices) - len(drawn)
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
        [_row(part) for part in drawn],
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


def _row(part: Slice) -> tuple[Cell, ...]:
    layer, stage = layer_and_stage(part.segment)
    name, work = describe(part)
    return (
        part.instruction.queue.name.lower(),
        layer,
        stage,
        name,
        "; ".join(f"{key} {value}" for key, value in work.items() if value != ""),
        part.start,
        part.occupied_until,
        part.finish,
        part.stall_cycles,
        None if part.cause is None else part.cause.name.lower(),
    )


def _work_traces(slices: Sequence[Slice]) -> list[dict[str, Any]]:
    by_stage: dict[str, list[Slice]] = {}
    for part in slices:
        stage = layer_and_stage(part.segment)[1]
        by_stage.setdefault(stage if stage in STAGE_COLOURS else "other", []).append(part)
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": stage,
            "y": [int(part.instruction.queue) for part in parts],
            "base": [part.start for part in parts],
            "x": [part.occupied_until - part.start for part in parts],
            "text": [_hover(part) for part in parts],
            "textposition": "none",
            "width": 0.7,
            "marker": {
                "color": STAGE_COLOURS.get(stage, CAUSE_COLOURS["idle"]),
                "opacity": [_SHADES[index % 2] for index in range(len(parts))],
            },
            "hovertemplate": "%{text}<extra></extra>",
        }
        for stage, parts in by_stage.items()
    ]


def _hover(part: Slice) -> str:
    row = _row(part)
    return (
        f"{label(str(row[1]), 60)} {label(str(row[2]))}<br>{label(str(row[3]), 60)}"
        f"<br>{label(str(row[4]), 80)}<br>cycles {part.start:,} to {part.occupied_until:,}, "
        f"done at {part.finish:,}"
    )


def _stall_traces(slices: Sequence[Slice]) -> list[dict[str, Any]]:
    by_cause: dict[str, list[Slice]] = {}
    for part in slices:
        if part.cause is not None and part.stall_cycles:
            by_cause.setdefault(part.cause.name.lower(), []).append(part)
    return [
        {
            "type": "bar",
            "orientation": "h",
            "name": f"waits: {cause}",
            "y": [int(part.instruction.queue) for part in parts],
            "base": [part.start - part.stall_cycles for part in parts],
            "x": [part.stall_cycles for part in parts],
            "width": 0.16,
            "marker": {"color": CAUSE_COLOURS[cause], "opacity": 0.75},
            "hovertemplate": f"waits for %{{x:,}} cycles: {cause}<extra></extra>",
        }
        for cause, parts in by_cause.items()
    ]
