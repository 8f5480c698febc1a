"""What a lane program is made from, and functions that many of them have.

Formulas are in FP32 and hold for operands that are FP16; elementary functions have the errors of
``weft.sim.lanes.functions``. exp is 2^(x log2 e).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from weft.sim.lanes import Kernel, Over, Value
from weft.sim.lanes.functions import Function

__all__ = ["LEAST", "LN_2", "LOG2_E", "Formula", "Maker", "exp", "log2", "reciprocal", "sqrt"]

LOG2_E = math.log2(math.e)
LN_2 = math.log(2)
LEAST = -65504.0
"""The lowest FP16: where sums of exponentials begin, so that rows of -inf have an empty sum."""


Maker = Callable[..., "Value | float"]
"""Of one result from a kernel's operands and the constants."""


@dataclass(frozen=True)
class Formula:
    """How a program is made: ``build(kernel, *constants)``; constants left out are the defaults.

    A round has ``inputs`` operands; a row has ``words``, of the strip if ``by_strip``.
    """

    build: Callable[..., None]
    inputs: int
    overs: tuple[Over, ...] = (Over.EACH,)
    words: int = 0
    by_strip: bool = False
    planar: bool = False


def exp(k: Kernel, x: Value, scale: float = 1.0) -> Value:
    return k.function(Function.EXP2, x * (LOG2_E * scale))


def reciprocal(k: Kernel, x: Value) -> Value:
    return k.function(Function.RECIPROCAL, x)


def log2(k: Kernel, x: Value) -> Value:
    return k.function(Function.LOG2, x)


def sqrt(k: Kernel, x: Value) -> Value:
    return reciprocal(k, k.function(Function.RSQRT, x))
