"""Vector ops as programs for the lanes of WUVE, by PyTorch's names.

The length of a program is what the simulator charges for the op, and what the Verilog runs.
"""

from __future__ import annotations

import functools

from weft.sim.lanes import Kernel, LaneError, LaneProgram, Over
from weft.sim.lanes.programs.elementwise import ELEMENTWISE, SEVERAL
from weft.sim.lanes.programs.optimizers import OPTIMIZERS
from weft.sim.lanes.programs.places import PLACES
from weft.sim.lanes.programs.rows import ROWS

__all__ = [
    "ELEMENTWISE",
    "OPTIMIZERS",
    "PLACES",
    "PROGRAMS",
    "ROWS",
    "SEVERAL",
    "compile_program",
]

PROGRAMS = ELEMENTWISE | SEVERAL | ROWS | PLACES | OPTIMIZERS


@functools.cache
def compile_program(
    name: str,
    over: Over = Over.EACH,
    lanes: int = 4,
    slots: int = 16,
    constants: tuple[float, ...] = (),
) -> LaneProgram:
    """The lane operations of ``name`` on a machine of so many lanes and slots.

    Raises:
        LaneError: an unknown name, or rows that lie where the program does not look for them.
    """
    formula = PROGRAMS.get(name)
    if formula is None:
        raise LaneError(f"vector op {name!r} has no lane program")
    if over not in formula.overs:
        allowed = ", ".join(repr(str(way)) for way in formula.overs)
        raise LaneError(f"{name}: rows over {str(over)!r}; allowed: {allowed}")
    kernel = Kernel(lanes, slots, over)
    formula.build(kernel, *constants)
    return kernel.program(
        name,
        formula.inputs,
        formula.words,
        by_strip=formula.by_strip,
        planar=formula.planar,
    )
