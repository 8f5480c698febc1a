"""Elementary functions of a WUVE lane: the bits that its function unit makes of FP32.

Each is a quadratic in one of 128 segments, in whole numbers, as Oberman and Siu do it ("A
high-performance area-efficient multifunction interpolator", ARITH 2005): y = c0 + (c1 + c2 t) t
with t of 17 bits and y in units of 2^-27, both products rounded down. Subnormal operands count as
zeros, results below the normal ones are zeros, NaN is canonical. function_unit.v does the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEGMENTS", "Function", "coefficients", "evaluate"]

SEGMENTS = 128
"""Per function; the segment's number is the top of what the function is a function of."""

UNIT_BITS = 27
STEP_BITS = 17
WIDTHS = (28, 24, 21)
"""Bits of c0 (unsigned), c1 and c2 (two's complement)."""

Words = NDArray[np.uint32]
Wide = NDArray[np.int64]


class Function(IntEnum):
    """What the unit knows, by its number in the Verilog."""

    EXP2 = 0
    LOG2 = 1
    RECIPROCAL = 2
    RSQRT = 3
    TANH = 4
    MILLS = 5  # the normal distribution's tail beyond x, over e^(-x^2 / 2)
    SINE = 6  # of turns: sin(2 pi x)


def _mills(z: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import erfcx  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    return np.asarray(0.5 * erfcx(z / np.sqrt(2)))


def _octaves(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2^-13, 8) in 16 octaves of 8 segments."""
    octave = np.floor(16 * u)
    return np.asarray(np.exp2(octave - 13) * (1 + 16 * u - octave))


_CURVES: dict[Function, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    Function.EXP2: np.exp2,
    Function.LOG2: np.log1p,
    Function.RECIPROCAL: lambda u: 1 / (1 + u),
    Function.RSQRT: lambda u: 1 / np.sqrt(np.where(u < 0.5, 1 + 2 * u, 4 * u)),
    Function.TANH: lambda u: np.tanh(_octaves(u)),
    Function.MILLS: lambda u: _mills(8 * u),
    Function.SINE: lambda u: np.sin(np.pi / 2 * u),
}
"""What the segments of [0, 1) hold; of RSQRT the lower half is [1, 2), the upper [2, 4)."""


@functools.cache
def coefficients() -> NDArray[np.int64]:
    """c0, c1 and c2 of every function and segment, shape [7, 128, 3]: through Chebyshev's nodes."""
    nodes = 0.5 + 0.5 * np.cos(np.pi * np.array([1, 3, 5]) / 6)
    powers = np.linalg.inv(np.vander(nodes, 3, increasing=True))
    table = np.zeros((len(Function), SEGMENTS, 3), np.int64)
    for function, curve in _CURVES.items():
        places = (np.arange(SEGMENTS)[:, None] + nodes) / SEGMENTS
        values = curve(places) / (np.log(2) if function is Function.LOG2 else 1)
        fitted = np.rint((values * 2.0**UNIT_BITS) @ powers.T).astype(np.int64)
        fitted[:, 0] = np.clip(fitted[:, 0] + 1, 0, 2 ** WIDTHS[0] - 1)  # two floors lose one unit
        table[function] = fitted
    table[Function.LOG2, 0, 0] = 0  # log2(1) is 0
    return table


def _shifted(significand: Wide, distance: Wide) -> Wide:
    """Shifted left by ``distance``, or right and rounded down where it is negative."""
    left = np.left_shift(significand, np.clip(distance, 0, 32))
    return np.where(distance >= 0, left, np.right_shift(significand, np.clip(-distance, 0, 63)))


def evaluate(function: Function, values: Words) -> Words:
    """FP32 bits of ``function`` of FP32 bits."""
    x = values.astype(np.int64)
    sign, exponent, fraction = x >> 31, (x >> 23) & 255, x & 0x7FFFFF
    zero = exponent == 0
    infinite = (exponent == 255) & (fraction == 0)
    nan = (exponent == 255) & (fraction != 0)
    power = exponent - 127
    significand = np.where(zero, 0, fraction | 0x800000)

    minus = np.zeros_like(x)  # sign of the result
    scale = np.zeros_like(x)  # power of two that multiplies it
    special = np.full_like(x, -1)  # bits of the result, where it does not come from a segment
    match function:
        case Function.EXP2:
            fixed = _shifted(significand, np.minimum(power, 8))
            fixed = np.where(sign == 1, -fixed, fixed)
            place = (fixed & 0x7FFFFF) << 1
            scale = fixed >> 23
            special[infinite] = np.where(sign[infinite] == 1, 0, 0x7F800000)
        case Function.LOG2:
            place = fraction << 1
            special[infinite] = 0x7F800000
            special[sign == 1] = 0x7FC00000
            special[zero] = 0xFF800000
        case Function.RECIPROCAL:
            place, scale, minus = fraction << 1, -power, sign
            special[infinite] = sign[infinite] << 31
            special[zero] = sign[zero] << 31 | 0x7F800000
        case Function.RSQRT:
            odd = power & 1
            place = odd << 23 | fraction
            scale = -((power - odd) >> 1)
            special[infinite] = 0
            special[sign == 1] = 0x7FC00000
            special[zero] = sign[zero] << 31 | 0x7F800000
        case Function.TANH:
            place = ((power + 13) & 15) << 20 | fraction >> 3
            minus = sign
            special[power < -7] = x[power < -7]
            special[power >= 3] = sign[power >= 3] << 31 | 0x3F800000
        case Function.MILLS:
            place = _shifted(significand, np.minimum(power, 2) - 2) & 0xFFFFFF
            special[power >= 3] = 0
        case Function.SINE:
            turn = _shifted(significand, np.minimum(power, 23)) & 0x7FFFFF
            place = turn & 0x1FFFFF
            back = np.where(place == 0, 0x1FFFFF, (1 << 21) - place)
            place = np.where((turn >> 21) & 1 == 1, back, place) << 3
            minus = sign ^ (turn >> 22)
            special[infinite] = 0x7FC00000
    special[nan] = 0x7FC00000

    c0, c1, c2 = np.moveaxis(coefficients()[function][place >> STEP_BITS], -1, 0)
    step = place & ((1 << STEP_BITS) - 1)
    slope = c1 + (c2 * step >> STEP_BITS)
    curve = np.maximum(c0 + (slope * step >> STEP_BITS), 0)
    if function is Function.LOG2:
        curve += power << UNIT_BITS
        minus = (curve < 0).astype(np.int64)
        curve = np.abs(curve)
    bits = _packed(minus, curve, scale)
    return np.where(special >= 0, special, bits).astype(np.uint32)


def _packed(minus: Wide, magnitude: Wide, scale: Wide) -> Wide:
    """FP32 of ``magnitude`` 2^(scale - 27), halves rounded up."""
    top = np.zeros_like(magnitude)
    for bits in (32, 16, 8, 4, 2, 1):
        above = magnitude >> top >= 1 << bits
        top = np.where(above, top + bits, top)
    lined_up = magnitude << (35 - top)
    rounded = ((lined_up >> 11) + 1) >> 1
    carry = rounded >> 24
    exponent = top - UNIT_BITS + scale + 127 + carry
    kept = np.where(carry == 1, 0, rounded & 0x7FFFFF)
    bits = minus << 31 | exponent << 23 | kept
    bits = np.where(exponent >= 255, minus << 31 | 0x7F800000, bits)
    return np.where((exponent <= 0) | (magnitude == 0), minus << 31, bits)
