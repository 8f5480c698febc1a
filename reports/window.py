"""Which part of a run the timeline shows: a layer, a span of cycles, or samples of everything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weft.reports.work import layer_and_stage

if TYPE_CHECKING:
    from weft.reports.entries import Entry
    from weft.sim.engine import Engine, SegmentTiming, Slice
    from weft.sim.program import Program

__all__ = ["Window", "parse_window", "window_entries", "window_slices"]

_SAMPLES = 64
"""Segments that a sampled window looks into."""

_AHEAD = 4
"""Segments behind a span of cycles whose loads may already run in it."""

_REACH = 1_000_000
"""Instructions of one segment that are stepped in search of a span of cycles."""


@dataclass(frozen=True)
class Window:
    """A layer (with all that is below it, in one stage or all), or cycles first..last-1.

    Without either, samples of the whole run.
    """

    layer: str | None = None
    cycles: tuple[int, int] | None = None


def parse_window(text: str) -> Window:
    """Read ``layer=NAME``, ``layer=NAME:STAGE``, ``cycles=A:B`` or ``samples``.

    Raises:
        ValueError: anything else, or cycles that do not go forward.
    """
    if text == "samples":
        return Window()
    kind, _, value = text.partition("=")
    if kind == "layer" and value:
        return Window(layer=value)
    span = re.fullmatch(r"(\d+):(\d+)", value)
    if kind == "cycles" and span and int(span[1]) < int(span[2]):
        return Window(cycles=(int(span[1]), int(span[2])))
    raise ValueError(
        f"window is {text!r}; allowed: layer=NAME, layer=NAME:STAGE, cycles=A:B with A < B, samples"
    )


def window_slices(
    engine: Engine, program: Program, window: Window | None, limit: int
) -> list[Slice]:
    """At most ``limit`` timeline entries of the window; without one, the program's start.

    Raises:
        ValueError: no such layer, cycles beyond the end, or too deep inside one segment.
    """
    if window is None:
        return engine.timeline(program, 0, len(program.segments), limit)
    if window.layer is not None:
        return _layer_slices(engine, program, window.layer, limit)
    if window.cycles is not None:
        return _cycle_slices(engine, program, window.cycles, limit)
    return _samples(engine, program, limit)


def window_entries(entries: Sequence[Entry], window: Window) -> list[Entry]:
    """Those of ``entries`` that are in the window."""
    if window.layer is not None:
        layer = window.layer
        return [entry for entry in entries if _is_of(f"{entry.layer}:{entry.stage}", layer)]
    if window.cycles is not None:
        begin, end = window.cycles
        return [entry for entry in entries if entry.occupied_until > begin and entry.start < end]
    return list(entries)


def _layer_slices(engine: Engine, program: Program, layer: str, limit: int) -> list[Slice]:
    names = [segment.name for segment in program.segments]
    wanted = [index for index, name in enumerate(names) if _is_of(name, layer)]
    if not wanted:
        raise ValueError(f"window: no layer is called {layer!r}; {_near(layer, names)}")
    found: list[Slice] = []
    for first, last in _stretches(wanted):
        if len(found) < limit:
            found += engine.timeline(program, first, last, limit - len(found))
    return found


def _is_of(segment: str, layer: str) -> bool:
    own, stage = layer_and_stage(segment)
    parent, wanted = layer_and_stage(layer)
    return (
        layer in (segment, own)
        or own.startswith(f"{layer}.")
        or (wanted == stage and own.startswith(f"{parent}."))
    )


def _near(layer: str, names: Sequence[str]) -> str:
    import difflib

    layers = list(dict.fromkeys(layer_and_stage(name)[0] for name in names))
    near = difflib.get_close_matches(layer, layers, n=3, cutoff=0.4) or layers[:3]
    return f"nearest: {', '.join(near)}"


def _stretches(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive indices as (first, last + 1)."""
    found: list[tuple[int, int]] = []
    for index in indices:
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found


def _cycle_slices(
    engine: Engine, program: Program, cycles: tuple[int, int], limit: int
) -> list[Slice]:
    begin, end = cycles
    timing = engine.run(program)
    if begin >= timing.cycles:
        raise ValueError(f"window: cycles={begin}:{end} begins after the run's {timing.cycles}")
    first, last = _segments_of(timing.segments, begin, end)
    reach = limit
    while True:
        stepped = engine.timeline(program, first, last, reach)
        found = [part for part in stepped if part.occupied_until > begin and part.start < end]
        if len(found) >= limit or len(stepped) < reach or _is_past(stepped, end):
            return found[:limit]
        if reach >= _REACH:
            if found:
                return found
            raise ValueError(
                f"window: cycle {begin} is more than {_REACH:,} instructions into "
                f"{program.segments[first].name}; choose one nearer to the start of a layer"
            )
        reach = min(4 * reach, _REACH)


def _is_past(stepped: Sequence[Slice], end: int) -> bool:
    """Whether every unit seen has got beyond the span; each takes its instructions in order."""
    starts = {part.instruction.queue: part.start for part in stepped}
    return min(starts.values()) >= end


def _segments_of(segments: Sequence[SegmentTiming], begin: int, end: int) -> tuple[int, int]:
    """Segments that may have instructions in the span: a few more behind it, for loads ahead."""
    first, last, clock = 0, 0, 0
    for index, segment in enumerate(segments):
        if clock < end:
            last = index + 1
        clock += segment.span_cycles
        if clock <= begin:
            first = index + 1
    return first, min(len(segments), last + _AHEAD)


def _samples(engine: Engine, program: Program, limit: int) -> list[Slice]:
    """The beginnings of segments spread over the run."""
    count = len(program.segments)
    chosen = sorted({index * count // _SAMPLES for index in range(_SAMPLES)}) if count else []
    each = max(1, limit // max(1, len(chosen)))
    found: list[Slice] = []
    for index in chosen:
        if len(found) < limit:
            found += engine.timeline(program, index, index + 1, min(each, limit - len(found)))
    return found
