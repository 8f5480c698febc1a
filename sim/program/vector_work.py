"""The instruction that runs a lane program on so many elements."""

from __future__ import annotations

from weft.sim.lanes import Over
from weft.sim.lanes.programs import compile_program
from weft.sim.machine import Wuve
from weft.sim.program import Vector, Window

__all__ = ["vector_work"]


def vector_work(
    name: str,
    elements: int,
    wuve: Wuve,
    constants: tuple[float, ...] = (),
    *,
    over: Over = Over.EACH,
    rows: int = 0,
    fused: bool = False,
    window: Window | None = None,
) -> Vector:
    """The instruction that runs ``name`` on ``elements`` in ``rows``.

    Raises:
        LaneError: as ``compile_program``.
    """
    program = compile_program(name, over, wuve.lanes, wuve.slots, constants)
    passes, per_row = program.passes, program.row_passes
    return Vector(elements, passes, name, constants, over, rows, per_row, fused, window)
