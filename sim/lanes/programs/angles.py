"""Inverse trigonometric and hyperbolic functions, and complex numbers.

The arc tangent of [0, 1] is an odd polynomial of degree 11 through Chebyshev's nodes of atan(x) / x
as a function of x^2, good to 2^-17 of itself; larger ones are pi / 2 less that of the reciprocal.
"""

from __future__ import annotations

import math

import numpy as np

from weft.sim.lanes import Kernel, Value
from weft.sim.lanes.functions import Function
from weft.sim.lanes.programs.formula import LN_2, Formula, Maker, exp, log2, reciprocal, sqrt

__all__ = ["ANGLES", "COMPLEX"]

_DEGREE = 5
_SMALL = 2.0**-40
"""Stands for zero where there is a division by the larger of two sizes."""


def _coefficients() -> tuple[float, ...]:
    """Of atan(sqrt z) / sqrt z for z in [0, 1], the highest power first."""
    nodes = 0.5 + 0.5 * np.cos(math.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1))
    values = np.arctan(np.sqrt(nodes)) / np.sqrt(nodes)
    return tuple(float(c) for c in np.polyfit(nodes, values, _DEGREE))


_COEFFICIENTS = _coefficients()


def _first_octant(k: Kernel, tangent: Value) -> Value:
    """The angle of a tangent in [0, 1]."""
    squared = tangent * tangent
    sum_: Value | float = _COEFFICIENTS[0]
    for coefficient in _COEFFICIENTS[1:]:
        sum_ = k.mad(squared, sum_, coefficient) if isinstance(sum_, Value) else _line(
            k, squared, sum_, coefficient
        )  # fmt: skip
    assert isinstance(sum_, Value)
    return sum_ * tangent


def _line(k: Kernel, x: Value, slope: float, offset: float) -> Value:
    """x slope + offset: two constants are two operations."""
    return k.mad(x, slope, -0.0) + offset


def _atan(k: Kernel, x: Value) -> Value:
    size = k.copy(abs(x))
    inverse = reciprocal(k, size)
    angle = _first_octant(k, k.min(inverse, size))
    angle = k.pick(size - 1.0, math.pi / 2 - angle, angle)
    return k.pick(x, angle, -angle)


def _atan2(k: Kernel) -> Value:
    """The angle of (x, y), operands y and x."""
    height, width = k.copy(abs(k.input(0))), k.copy(abs(k.input(1)))
    larger = k.max(k.max(height, width), _SMALL)
    angle = _first_octant(k, k.min(height, width) * reciprocal(k, larger))
    angle = k.pick(height - width, math.pi / 2 - angle, angle)
    angle = k.pick(k.less(k.input(1), 0.0), math.pi - angle, angle)
    return k.pick(k.input(0), angle, k.pick(k.less(k.input(0), 0.0), -angle, angle))


def _asin(k: Kernel) -> Value:
    x = k.copy(k.input(0))
    return _atan(k, x * k.function(Function.RSQRT, k.mad(-x, x, 1.0)))


def _acos(k: Kernel) -> Value:
    """Twice the angle of the half: near 1 the difference from pi / 2 would be lost."""
    x = k.copy(k.input(0))
    return _atan(k, sqrt(k, (1.0 - x) * reciprocal(k, x + 1.0))) * 2.0


def _asinh(k: Kernel) -> Value:
    size = k.copy(abs(k.input(0)))
    sum_ = log2(k, size + sqrt(k, k.mad(size, size, 1.0))) * LN_2
    return k.pick(k.input(0), sum_, -sum_)


def _acosh(k: Kernel) -> Value:
    x = k.copy(k.input(0))
    return log2(k, x + sqrt(k, k.mad(x, x, -1.0))) * LN_2


def _atanh(k: Kernel) -> Value:
    x = k.copy(k.input(0))
    return log2(k, (x + 1.0) * reciprocal(k, 1.0 - x)) * (LN_2 / 2)


def _sinh(k: Kernel) -> Value:
    return (exp(k, k.input(0)) - exp(k, k.input(0), -1.0)) * 0.5


def _cosh(k: Kernel) -> Value:
    return (exp(k, k.input(0)) + exp(k, k.input(0), -1.0)) * 0.5


ANGLES: dict[str, tuple[int, Maker]] = {
    "atan": (1, lambda k: _atan(k, k.copy(k.input(0)))),
    "atan2": (2, _atan2),
    "asin": (1, _asin),
    "acos": (1, _acos),
    "asinh": (1, _asinh),
    "acosh": (1, _acosh),
    "atanh": (1, _atanh),
    "sinh": (1, _sinh),
    "cosh": (1, _cosh),
}
"""Operands and formula of each."""


def _polar(k: Kernel) -> None:
    """Length and angle become two parts."""
    turns = k.input(1) * (0.5 / math.pi)
    sine = k.function(Function.SINE, turns)
    k.emit(k.function(Function.SINE, turns + 0.25) * k.input(0))
    k.emit(sine * k.input(0))


def _complex_product(k: Kernel) -> None:
    """(a + b i) (c + d i) of a, b, c and d."""
    c, d = k.copy(k.input(2)), k.copy(k.input(3))
    b_d, b_c = d * k.input(1), c * k.input(1)
    k.emit(k.mad(c, k.input(0), -b_d))
    k.emit(k.mad(d, k.input(0), b_c))


def _complex_quotient(k: Kernel) -> None:
    """(a + b i) / (c + d i) of a, b, c and d."""
    c, d = k.copy(k.input(2)), k.copy(k.input(3))
    inverse = reciprocal(k, k.mad(c, c, d * d))
    c, d = c * inverse, d * inverse
    b_d, b_c = d * k.input(1), c * k.input(1)
    k.emit(k.mad(c, k.input(0), b_d))
    k.emit(k.mad(-d, k.input(0), b_c))


def _complex_sign(k: Kernel) -> None:
    """(a + b i) by its length; 0 of 0."""
    squared = k.mad(k.input(0), k.input(0), k.input(1) * k.input(1))
    inverse = k.pick(squared, k.function(Function.RSQRT, squared), 0.0)
    k.emit(k.input(0) * inverse)
    k.emit(k.input(1) * inverse)


COMPLEX = {
    "polar": Formula(_polar, 2),
    "complex_product": Formula(_complex_product, 4),
    "complex_quotient": Formula(_complex_quotient, 4),
    "complex_sign": Formula(_complex_sign, 2),
}
"""Two results for each element: programs for windows of one round, whose results follow each other.
"""
