"""Programs for the lanes of WUVE, and the bits of their elementary functions."""

from weft.sim.lanes.kernel import Kernel, Value
from weft.sim.lanes.operations import (
    CODES,
    REGISTERS,
    Emit,
    Guard,
    Kind,
    LaneError,
    LaneOp,
    LaneProgram,
    Over,
    Reduction,
    Source,
)

__all__ = [
    "CODES",
    "REGISTERS",
    "Emit",
    "Guard",
    "Kernel",
    "Kind",
    "LaneError",
    "LaneOp",
    "LaneProgram",
    "Over",
    "Reduction",
    "Source",
    "Value",
]
