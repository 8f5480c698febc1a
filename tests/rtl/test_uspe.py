"""The processing element under random inputs, every output compared in every cycle."""

from __future__ import annotations

import subprocess

import pytest

from weft.rtl.cosimulation.build import Design, build_cpp
from weft.rtl.hardware import VERILOG
from weft.rtl.inspection.structure import closure

BENCH = VERILOG.parent / "cosimulation" / "bench" / "drive_uspe.cpp"
SHAPES = [(4, 2, 4), (5, 1, 3), (8, 3, 8)]
"""(interleave, multiplier stages, adder stages): no waiting line, a waiting line, deep."""


def run(shape: tuple[int, int, int], cycles: int, seed: int) -> dict[str, int]:
    interleave, multiplier, adder = shape
    parameters = {"INTERLEAVE": interleave, "LM": multiplier, "LA": adder}
    macros = [
        part for name, value in parameters.items() for part in ("-CFLAGS", f"-D{name}={value}")
    ]
    design = Design("uspe", closure("uspe"), parameters, arguments=tuple(macros))
    result = subprocess.run(
        [build_cpp(design, BENCH), str(cycles), str(seed)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    return {" ".join(words[:-1]): int(words[-1]) for words in lines}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_million_random_cycles_and_no_empty_bin(shape: tuple[int, int, int]) -> None:
    counts = run(shape, 1_000_000, seed=sum(shape))
    assert counts.pop("checked") == 1_000_000
    print(counts)
    assert len(counts) == 16 + 32 + 10
    assert all(counts.values()), counts


@pytest.mark.deep
@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 1), (64, 16, 16), (2, 1, 1)])
def test_fifty_million_random_cycles(shape: tuple[int, int, int]) -> None:
    assert all(run(shape, 50_000_000, seed=7).values())
