"""A window of the timeline in the Trace Event format that ui.perfetto.dev opens.

One microsecond on screen is one cycle. Each queue is a track; a DRAM counter tells bytes moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from weft.sim.engine import Slice
from weft.sim.program import Matmul, Queue, Reduce, Transfer, Update, Vector
from weft.sim.results import RunResult

__all__ = ["render_trace"]

_PROCESS = 1


def render_trace(run: RunResult, slices: Sequence[Slice]) -> str:
    """The trace as JSON text; bounded by the number of ``slices``."""
    events = [*_tracks(run), *(_event(part) for part in slices), *_dram_counter(slices)]
    return json.dumps(
        {
            "traceEvents": events,
            "displayTimeUnit": "ns",
            "otherData": {
                "model": run.model,
                "recipe": run.recipe,
                "hardware": run.hardware,
                "time_unit": "1 us on screen = 1 cycle",
                "instructions": str(len(slices)),
            },
        }
    )


def _tracks(run: RunResult) -> Iterator[dict[str, Any]]:
    yield _meta("process_name", 0, f"{run.hardware}: {run.model}, {run.recipe} {run.pattern}")
    for queue in Queue:
        yield _meta("thread_name", int(queue) + 1, queue.name.lower())


def _meta(name: str, track: int, value: str) -> dict[str, Any]:
    return {"ph": "M", "pid": _PROCESS, "tid": track, "name": name, "args": {"name": value}}


def _event(part: Slice) -> dict[str, Any]:
    name, arguments = _describe(part)
    arguments["segment"] = part.segment
    arguments["finish"] = part.finish
    arguments["stall_cycles"] = part.stall_cycles
    if part.cause is not None:
        arguments["stall_cause"] = part.cause.name.lower()
    return {
        "ph": "X",
        "pid": _PROCESS,
        "tid": int(part.instruction.queue) + 1,
        "ts": part.start,
        "dur": part.occupied_until - part.start,
        "name": name,
        "cat": part.segment.rpartition(":")[2] or "item",
        "args": arguments,
    }


def _describe(part: Slice) -> tuple[str, dict[str, Any]]:
    work = part.instruction.work
    match work:
        case Transfer():
            verb = "load" if part.instruction.queue is Queue.LOAD else "store"
            return f"{verb} {work.buffer}", {"bytes": work.bytes}
        case Matmul():
            tile = f"{work.batch}x{work.rows}x{work.depth}x{work.columns}"
            return f"matmul {work.dataflow.name} {work.pattern}", {"tile": tile}
        case Reduce():
            return f"reduce {work.pattern}", {"groups": work.groups}
        case Update():
            return f"update {work.optimizer}", {"elements": work.elements}
        case Vector():
            return "vector", {"elements": work.elements, "passes": work.passes}
        case _:
            return "sync", {}


def _dram_counter(slices: Sequence[Slice]) -> Iterator[dict[str, Any]]:
    """Bytes per cycle that the two memory queues move, as steps."""
    changes: dict[int, dict[str, float]] = {}
    for part in slices:
        work = part.instruction.work
        if not isinstance(work, Transfer) or part.occupied_until == part.start:
            continue
        side = "read" if part.instruction.queue is Queue.LOAD else "write"
        rate = work.bytes / (part.occupied_until - part.start)
        changes.setdefault(part.start, {})[side] = rate
        changes.setdefault(part.occupied_until, {}).setdefault(side, 0.0)
    level = {"read": 0.0, "write": 0.0}
    for time in sorted(changes):
        level |= changes[time]
        yield {
            "ph": "C",
            "pid": _PROCESS,
            "ts": time,
            "name": "DRAM bytes per cycle",
            "args": dict(level),
        }
