"""Levels over time from a window of the timeline: DRAM traffic, banks in use, power."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from weft.sim.program import Channel, Queue, Transfer

if TYPE_CHECKING:
    from weft.sim.engine import Slice
    from weft.sim.machine import Machine

__all__ = ["Level", "banks_in_use", "dram_levels", "levels", "pieces", "power_levels"]

Level = tuple[int, float]
"""A cycle, and the level from then on."""

MOST = 2000
"""Points of one counter; more changes than that are averaged over equal spans."""

_FREE = {
    Channel.LEFT_FREE: "left",
    Channel.RIGHT_FREE: "right",
    Channel.OUT_FREE: "output",
    Channel.VIN_FREE: "vector in",
    Channel.VOUT_FREE: "vector out",
    Channel.MASK_IN_FREE: "mask in",
    Channel.MASK_OUT_FREE: "mask out",
}


def levels(changes: Iterable[tuple[int, float]], most: int = MOST) -> list[Level]:
    """The running sum of ``changes`` (cycle, by how much); means over equal spans if too many."""
    merged: dict[int, float] = {}
    for cycle, change in changes:
        merged[cycle] = merged.get(cycle, 0.0) + change
    level = 0.0
    found: list[Level] = []
    for cycle in sorted(merged):
        level += merged[cycle]
        found.append((cycle, level))
    return found if len(found) <= most else _means(found, most)


def _means(exact: Sequence[Level], most: int) -> list[Level]:
    """Averages over ``most`` - 1 equal spans, then the last level."""
    first, last = exact[0][0], exact[-1][0]
    width = -(-(last - first) // (most - 1))
    sums = [0.0] * -(-(last - first) // width)
    for (cycle, level), (end, _) in itertools.pairwise(exact):
        while cycle < end:
            span = (cycle - first) // width
            stop = min(end, first + (span + 1) * width)
            sums[span] += level * (stop - cycle)
            cycle = stop
    starts = [first + index * width for index in range(len(sums))]
    means = [
        (start, total / (min(last, start + width) - start))
        for start, total in zip(starts, sums, strict=True)
    ]
    return [*means, exact[-1]]


def dram_levels(slices: Sequence[Slice]) -> dict[str, list[Level]]:
    """Bytes per cycle that the load and the store queue move."""
    return {
        side: levels(
            change
            for part in slices
            if part.instruction.queue is queue and isinstance(part.instruction.work, Transfer)
            for change in _pulse(part, part.instruction.work.bytes)
        )
        for side, queue in (("read", Queue.LOAD), ("write", Queue.STORE))
    }


def _pulse(part: Slice, amount: float) -> list[tuple[int, float]]:
    """``amount`` spread over the cycles that the instruction holds its queue."""
    cycles = part.occupied_until - part.start
    if cycles <= 0 or not amount:
        return []
    return [(part.start, amount / cycles), (part.occupied_until, -amount / cycles)]


def banks_in_use(slices: Sequence[Slice]) -> dict[str, list[Level]]:
    """Banks of each buffer, from the instruction that takes one until it is given back.

    What was in use before the window is known only as far as it is given back inside.
    """
    changes: dict[str, list[tuple[int, float]]] = {}
    for part in slices:
        for channel in part.instruction.waits:
            if channel in _FREE:
                changes.setdefault(_FREE[channel], []).append((part.start, 1.0))
        for channel in part.instruction.signals:
            if channel in _FREE:
                changes.setdefault(_FREE[channel], []).append((part.finish, -1.0))
    found: dict[str, list[Level]] = {}
    for buffer, own in changes.items():
        lowest = min(level for _, level in levels(own, len(own) + 1))
        before = [(min(part.start for part in slices), max(0.0, -lowest))]
        found[buffer] = levels([*before, *own])
    return found


def power_levels(slices: Sequence[Slice], machine: Machine) -> list[Level]:
    """Watts: each instruction's energy over the cycles it holds its queue, and static power."""
    from weft.sim.energy import energy_of, load_energy_table
    from weft.sim.energy.actions import ActionCounter

    if not slices:
        return []
    table = load_energy_table(machine.technology)
    counter = ActionCounter(machine)
    joules: dict[int, float] = {}
    changes: list[tuple[int, float]] = []
    for part in slices:
        key = id(part.instruction)
        if key not in joules:
            joules[key] = energy_of(counter.instruction(part.instruction), 0.0, table).total_j
        changes += _pulse(part, joules[key] * machine.clock_hz)
    static = table.value("static")
    changes.append((min(part.start for part in slices), static))
    changes.append((max(part.occupied_until for part in slices), -static))
    return levels(changes)


def pieces(slices: Sequence[Slice]) -> int:
    """How many unbroken stretches of the run the window is made of.

    Every entry tells how long its queue had been free, so a queue that goes on elsewhere than
    where it stopped shows a gap.
    """
    if not slices:
        return 0
    ends: dict[Queue, int] = {}
    found = 1
    for part in slices:
        queue = part.instruction.queue
        if ends.get(queue, part.start - part.stall_cycles) != part.start - part.stall_cycles:
            found += 1
            ends = {}
        ends[queue] = part.occupied_until
    return found
