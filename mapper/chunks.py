"""How a chain of vector ops is cut into what a bank holds, and where its rows lie in the lanes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from weft.mapper.fuse import VectorCost
from weft.sim.lanes import Over
from weft.sim.machine import Wuve
from weft.sim.program import Vector
from weft.sim.strips import vector_cycles
from weft.sim.vector_programs import ROWS, compile_program

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
        if not self.whole.over or self.whole.over == Over.SLOTS:
            return replace(self.whole, elements=size)
        return replace(self.whole, elements=size, rows=size // self.length if self.length else 1)


def lane_work(cost: VectorCost, fit: int, wuve: Wuve) -> LaneWork:
    """The fastest way to lay the rows of ``cost``; ``fit`` elements fit a bank."""
    each = Vector(cost.elements, cost.passes)
    if not cost.programs or cost.rows < 1 or cost.elements % cost.rows:
        return LaneWork(each, whole_units(fit, cost.elements, wuve.lanes, wuve.lanes * wuve.slots))
    if cost.channels:
        if cost.rows > fit:
            return LaneWork(each, whole_units(fit, cost.elements, wuve.lanes))
        whole = _vector(cost, Over.SLOTS, wuve)
        return LaneWork(whole, whole_units(fit, cost.elements, cost.rows, cost.rows * wuve.slots))
    length = cost.elements // cost.rows
    if length > fit:
        whole = _vector(cost, Over.ALL, wuve)
        return LaneWork(whole, whole_units(fit, cost.elements, wuve.lanes, wuve.lanes * wuve.slots))
    overs = (Over.LANES, Over.ALL)
    whole = min((_vector(cost, over, wuve) for over in overs), key=lambda w: vector_cycles(w, wuve))
    unit = length * wuve.slots if whole.over == Over.LANES else length
    return LaneWork(whole, whole_units(fit, cost.elements, length, unit), length)


def _vector(cost: VectorCost, over: Over, wuve: Wuve) -> Vector:
    """All of it as one instruction. Rows that no program can have so are timed as if it could."""
    name = cost.programs[0]
    allowed = over if over in ROWS[name].overs else ROWS[name].overs[0]
    per_row = compile_program(name, allowed, wuve.lanes, wuve.slots).row_passes
    return Vector(cost.elements, cost.passes, over=over, rows=cost.rows, row_passes=per_row)


def whole_units(fit: int, elements: int, *units: int) -> int:
    """What fits, in whole units, of the largest that does."""
    for unit in sorted(units, reverse=True):
        if unit <= fit:
            return min(elements, fit // unit * unit)
    return min(elements, fit)
