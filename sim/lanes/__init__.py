"""Programs for the lanes of WUVE, and the bits of their elementary functions."""

from weft.sim.lanes.kernel import (
    CODES,
    REGISTERS,
    Emit,
    Guard,
    Kernel,
    Kind,
    LaneError,
    LaneOp,
    LaneProgram,
    Over,
    Reduction,
    Source,
    Value,
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
