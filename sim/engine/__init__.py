"""Exact timing of a Program, and what its critical path is made of."""

from weft.sim.engine.exact import (
    Cause,
    Engine,
    SegmentTiming,
    Slice,
    Timing,
)

__all__ = [
    "Cause",
    "Engine",
    "SegmentTiming",
    "Slice",
    "Timing",
]
