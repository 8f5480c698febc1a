"""The function unit against its model bit for bit, and that against the true functions."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import erfcx

from weft.rtl.cosimulation.build import Design, build_cpp, lint
from weft.rtl.hardware import VERILOG
from weft.rtl.hardware.tables import TABLE, table_text
from weft.rtl.inspection.structure import closure
from weft.sim.lanes.functions import WIDTHS, Function, coefficients, evaluate

BENCH = VERILOG.parent / "cosimulation" / "bench" / "drive_function.cpp"
DESIGN = Design("function_unit", closure("function_unit"))
Words = NDArray[np.uint32]

EDGES = np.array(
    [0, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x3F800000,
     0x3F7FFFFF, 0x3F800001, 0x3C000000, 0x3BFFFFFF, 0x41000000, 0x40FFFFFF, 0x43000000,
     0x42FE0000, 0xC2FC0000, 0xC3160000],
    np.uint32,
)  # fmt: skip
"""Zeros, subnormals, infinities, NaN, one, and where tables begin and end; each with both signs."""


def operands(seed: int, count: int) -> Words:
    """Any bits at all, numbers of a size that matters, and every edge."""
    draw = np.random.default_rng(seed)
    wild = draw.integers(0, 1 << 32, count // 2, dtype=np.uint32)
    usual = (draw.standard_normal(count // 2) * np.exp2(draw.uniform(-12, 8, count // 2))).astype(
        np.float32
    )
    return np.concatenate([wild, usual.view(np.uint32), EDGES, EDGES | np.uint32(1 << 31)])


def bins(function: Function, x: Words, y: Words) -> dict[str, int]:
    """How often each class of operand and of result, and each segment's first and last, was met."""
    exponent, fraction = (x >> 23) & 255, x & 0x7FFFFF
    made = (y >> 23) & 255
    counts = {
        "operand zero": (exponent == 0) & (fraction == 0),
        "operand subnormal": (exponent == 0) & (fraction != 0),
        "operand infinite": (exponent == 255) & (fraction == 0),
        "operand NaN": (exponent == 255) & (fraction != 0),
        "operand negative": x >> 31 == 1,
        "result normal": (made > 0) & (made < 255),
    }
    if function not in (Function.TANH, Function.SINE):
        counts["result zero, infinite or NaN"] = (made == 0) | (made == 255)
    return {name: int(np.sum(where)) for name, where in counts.items()}


@pytest.mark.parametrize("function", Function)
def test_a_million_vectors_bit_for_bit(function: Function) -> None:
    x = operands(int(function), 1_000_000)
    y = evaluate(function, x)
    found = bins(function, x, y)
    print(function.name, found)
    assert all(found.values()), found
    vectors = np.stack([np.full_like(x, function), x, y], axis=1)
    result = subprocess.run(
        [str(build_cpp(DESIGN, BENCH))], input=vectors.tobytes(), capture_output=True, check=False
    )
    assert result.returncode == 0, result.stdout
    assert result.stdout.split() == [b"checked", str(x.size).encode()]


TRUTH: dict[Function, tuple[Callable[..., NDArray[np.float64]], float, float, float]] = {
    Function.EXP2: (np.exp2, -125, 126, 2**-22.5),
    Function.RECIPROCAL: (lambda x: 1 / x, 1e-6, 1e6, 2**-23),
    Function.RSQRT: (lambda x: x**-0.5, 1e-6, 1e6, 2**-23),
    Function.TANH: (np.tanh, 2**-7, 7.9, 2**-15.5),
    Function.MILLS: (lambda x: erfcx(x / 2**0.5) / 2, 0, 7.9, 2**-18),
    Function.LOG2: (np.log2, 2, 1e6, 2**-22),
}
"""The function, where it is looked at, and its greatest relative error there."""


@pytest.mark.parametrize("function", TRUTH)
def test_error_is_what_the_tables_promise(function: Function) -> None:
    curve, low, high, most = TRUTH[function]
    x = np.random.default_rng(1).uniform(low, high, 400_000).astype(np.float32)
    got = evaluate(function, x.view(np.uint32)).view(np.float32).astype(np.float64)
    true = curve(x.astype(np.float64))
    assert np.max(np.abs(got / true - 1)) < most


def test_sine_and_small_logarithms_have_an_absolute_error() -> None:
    x = np.random.default_rng(2).uniform(-3, 3, 400_000).astype(np.float32)
    sine = evaluate(Function.SINE, x.view(np.uint32)).view(np.float32)
    assert np.max(np.abs(sine - np.sin(2 * np.pi * x.astype(np.float64)))) < 2**-20
    near_one = 1 + x / 10
    logarithm = evaluate(Function.LOG2, near_one.view(np.uint32)).view(np.float32)
    assert np.max(np.abs(logarithm - np.log2(near_one.astype(np.float64)))) < 2**-23.5


def least_width(values: NDArray[np.int64]) -> int:
    """Bits that hold ``values`` in two's complement."""
    return int(max(np.abs(values).max(), 1)).bit_length() + 1


def test_table_is_what_the_simulator_uses() -> None:
    assert TABLE.read_text(encoding="utf-8") == table_text()
    table = coefficients()
    assert table[..., 0].min() >= 0
    assert table[..., 0].max() < 1 << WIDTHS[0]
    assert least_width(table[..., 1]) <= WIDTHS[1]
    assert least_width(table[..., 2]) <= WIDTHS[2]


def test_lints_clean_with_all_warnings_on() -> None:
    lint(DESIGN)
