"""How a chain of vector ops is cut into what a bank holds, and where its rows lie in the lanes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from weft.mapper.scheduling.fuse import VectorCost
from weft.sim.lanes import Over
from weft.sim.lanes.programs import PROGRAMS, compile_program
from weft.sim.machine import Wuve
from weft.sim.program import Vector
from weft.sim.program.strips import vector_cycles

__all__ = ["LaneWork", "lane_work", "whole_units"]


@dataclass(frozen=True)
class LaneWork:
    """Chunks of ``chunk`` elements; rows of ``length``, 0 where a row fits no bank."""

    whole: Vector
    chunk: int
    length: int = 0

    def work(self, size: int) -> Vector:
        """The instruction for a chunk of ``size``.

        Of a row that fits no bank every chunk has a part, which it ends like a row.
        """
        if self.whole.over in (Over.EACH, Over.SLOTS):
            return replace(self.whole, elements=size)
        return replace(self.whole, elements=size, rows=size // self.length if self.length else 1)

    def cycles(self, wuve: Wuve) -> int:
        """Of all chunks' lane operations."""
        count, rest = divmod(self.whole.elements, self.chunk)
        cycles = count * vector_cycles(self.work(self.chunk), wuve)
        return cycles + (vector_cycles(self.work(rest), wuve) if rest else 0)


def lane_work(cost: VectorCost, fit: int, wuve: Wuve) -> LaneWork:
    """The fastest way to lay the rows of ``cost``; ``fit`` elements fit a bank."""
    each = Vector(cost.elements, cost.passes)
    if not cost.programs or cost.rows < 1 or cost.elements % cost.rows:
        return LaneWork(each, whole_units(fit, cost.elements, wuve.lanes, wuve.lanes * wuve.slots))
    if cost.channels:
        return _channels(cost, fit, wuve, each)
    length = cost.elements // cost.rows
    if length > fit:
        whole = _vector(cost, Over.ALL, wuve)
        return LaneWork(whole, whole_units(fit, cost.elements, wuve.lanes, wuve.lanes * wuve.slots))
    units = {
        Over.LANES: (length, length * wuve.slots),
        Over.ALL: (length,),
        Over.APART: (length, length * wuve.lanes, length * wuve.lanes * wuve.slots),
    }
    known = PROGRAMS[cost.programs[0]].overs
    ways = [
        LaneWork(_vector(cost, over, wuve), whole_units(fit, cost.elements, *sizes), length)
        for over, sizes in units.items()
        if over in known
    ]
    return min(ways, key=lambda way: way.cycles(wuve))


def _channels(cost: VectorCost, fit: int, wuve: Wuve, each: Vector) -> LaneWork:
    """Rows that are channels: those of the lanes at a time, so that few sums are folded."""
    together = wuve.lanes if cost.rows % wuve.lanes == 0 else cost.rows
    if together > fit:
        return LaneWork(each, whole_units(fit, cost.elements, wuve.lanes))
    whole = replace(_vector(cost, Over.SLOTS, wuve), rows=together)
    return LaneWork(whole, whole_units(fit, cost.elements, together, together * wuve.slots))


def _vector(cost: VectorCost, over: Over, wuve: Wuve) -> Vector:
    """All of it as one instruction. Rows that no program can have so are timed as if it could."""
    name, *others = cost.programs
    allowed = over if over in PROGRAMS[name].overs else PROGRAMS[name].overs[0]
    found = compile_program(name, allowed, wuve.lanes, wuve.slots, cost.constants).row_passes
    # A program whose rows lie otherwise has other rows, and far fewer.
    found += sum(
        compile_program(other, over, wuve.lanes, wuve.slots).row_passes
        for other in others
        if over in PROGRAMS[other].overs
    )
    return Vector(cost.elements, cost.passes, over=over, rows=cost.rows, row_passes=found)


def whole_units(fit: int, elements: int, *units: int) -> int:
    """What fits, in whole units, of the largest that does."""
    for unit in sorted(units, reverse=True):
        if unit <= fit:
            return min(elements, fit // unit * unit)
    return min(elements, fit)
