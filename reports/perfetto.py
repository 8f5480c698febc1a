"""A window of the timeline in the Trace Event format that ui.perfetto.dev opens.

One microsecond on screen is one cycle. Each unit is a track of instructions; counters tell DRAM
traffic, banks in use and power.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.reports.counters import (
    Level,
    banks_in_use,
    dram_levels,
    pieces,
    power_levels,
)
from weft.reports.entries import Entry, entry_of
from weft.reports.machines import machine_of
from weft.reports.writing import ReportError, failing_clearly
from weft.sim.program import Queue
from weft.sim.results import RunResult

if TYPE_CHECKING:
    from weft.sim.engine import Slice

__all__ = ["LIMIT", "read_trace", "render_trace", "trace_events"]

LIMIT = 20_000
"""Instructions that a trace holds at most: about six megabytes."""

_PROCESS = 1
_CAUSES = ("memory", "dependency", "buffer")


def render_trace(run: RunResult, slices: Sequence[Slice], limit: int = LIMIT) -> str:
    """The trace as JSON text; the first ``limit`` of ``slices``, and counters of bounded size."""
    drawn = slices[:limit]
    trace = {
        "displayTimeUnit": "ns",
        "otherData": {
            "model": run.model,
            "recipe": f"{run.recipe} {run.pattern}",
            "hardware": run.hardware,
            "weft": run.weft_version,
            "time unit": "1 us on screen is 1 cycle",
            "instructions": f"{len(drawn)} of {len(slices)} in the window",
            "pieces": str(pieces(drawn)),
            "end": "cut in program order: near its end other units may have gone on",
        },
        "traceEvents": list(trace_events(run, drawn)),
    }
    return json.dumps(trace, separators=(",", ":"), allow_nan=False)


def trace_events(run: RunResult, slices: Sequence[Slice]) -> Iterator[dict[str, Any]]:
    """All events: names of the tracks, instructions, counters."""
    yield _name("process_name", 0, f"{run.hardware}: {run.model}, {run.recipe} {run.pattern}")
    for queue in Queue:
        yield _name("thread_name", _track(queue), queue.name.lower())
        yield {
            "ph": "M",
            "pid": _PROCESS,
            "tid": _track(queue),
            "name": "thread_sort_index",
            "args": {"sort_index": int(queue)},
        }
    for part in slices:
        yield _event(entry_of(part))
    yield from _counters(run, slices)


def _track(queue: Queue) -> int:
    return int(queue) + 1


def _name(kind: str, track: int, value: str) -> dict[str, Any]:
    return {"ph": "M", "pid": _PROCESS, "tid": track, "name": kind, "args": {"name": value}}


def _event(entry: Entry) -> dict[str, Any]:
    more: dict[str, int | str] = {
        "layer": entry.layer,
        "stage": entry.stage,
        "finish": entry.finish,
    }
    if entry.stall_cycles:
        more["stall_cycles"] = entry.stall_cycles
    if entry.cause is not None:
        more["stall_cause"] = entry.cause
    return {
        "ph": "X",
        "pid": _PROCESS,
        "tid": _track(Queue[entry.unit.upper()]),
        "ts": entry.start,
        "dur": entry.occupied_until - entry.start,
        "name": entry.name,
        "cat": entry.stage or "item",
        "args": {**more, **entry.work},
    }


def read_trace(path: Path) -> list[Entry]:
    """The instructions that a trace of ``render_trace`` holds; none where there is no trace.

    Raises:
        ReportError: it is truncated, or no trace of weft.
    """
    if not path.is_file():
        return []
    try:
        with failing_clearly(path, "read"):
            events = json.loads(path.read_bytes())["traceEvents"]
        return [_entry(event) for event in events if event["ph"] == "X"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReportError(f"cannot read {path}: truncated or no trace of weft ({error})") from error


def _entry(event: Mapping[str, Any]) -> Entry:
    """What ``_event`` told; ValueError, KeyError or TypeError where it did not."""
    work = dict(event["args"])
    start = int(event["ts"])
    cause = work.pop("stall_cause", None)
    if cause not in (None, *_CAUSES):
        raise ValueError(f"stall_cause is {cause!r}; known: {', '.join(_CAUSES)}")
    return Entry(
        Queue(int(event["tid"]) - 1).name.lower(),
        str(work.pop("layer")),
        str(work.pop("stage")),
        str(event["name"]),
        start,
        start + int(event["dur"]),
        int(work.pop("finish")),
        int(work.pop("stall_cycles", 0)),
        cause,
        work,
    )


def _counters(run: RunResult, slices: Sequence[Slice]) -> Iterator[dict[str, Any]]:
    yield from _counter("DRAM bytes per cycle", dram_levels(slices))
    if pieces(slices) == 1:
        yield from _counter("banks in use", banks_in_use(slices))
    machine = machine_of(run)
    if machine is not None:
        yield from _counter("power in watts", {"power": power_levels(slices, machine)})


def _counter(name: str, series: Mapping[str, Sequence[Level]]) -> Iterator[dict[str, Any]]:
    """One track per series."""
    for part, points in series.items():
        for cycle, level in points:
            yield {
                "ph": "C",
                "pid": _PROCESS,
                "tid": 0,
                "ts": cycle,
                "name": f"{name}: {part}" if len(series) > 1 else name,
                "args": {part: round(level, 6)},
            }
