"""The array in Verilog: cycles are the closed forms, sums are the model's bits."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest

from weft.rtl.cosimulation.build import Design, build_cocotb, lint, run_cocotb, sources_of
from weft.rtl.cosimulation.matmul import (
    LANES,
    Tile,
    compress,
    expected,
    fields,
    make_banks,
    read_outputs,
)
from weft.rtl.hardware import VERILOG
from weft.sim.machine import Array
from weft.sim.pattern import DENSE, Pattern
from weft.sim.program import Dataflow, Matmul
from weft.sim.program.timing import ceil_div, matmul_cycles

DEPTH_LOG2 = 12
PORTS = (
    *("clk", "reset", "start", "load", "save", "finished", "cycles"),
    *("weight_stationary", "accumulate", "n_keep", "m_group", "group_shift", "steps"),
    *("vectors", "row_passes", "column_passes", "left_step"),
)
PARTS = (
    "delay_line",
    "fp16_normalize",
    "fp16_multiplier",
    "leading_zeros_28",
    "fp32_adder",
    "uspe",
    "stce",
    "row_feeder",
    "column_feeder",
    "column_port",
    "stce_unit",
)
ARRAYS = (Array(4, 4, 4, 2, 4), Array(4, 8, 4, 1, 3), Array(8, 8, 4, 2, 4))


def design(array: Array) -> Design:
    return Design(
        "stce_bench",
        (*sources_of(*PARTS), VERILOG.parent / "cosimulation" / "bench" / "stce_bench.v"),
        {
            "ROWS": array.rows,
            "COLS": array.cols,
            "INTERLEAVE": array.interleave,
            "LM": array.multiplier_stages,
            "LA": array.adder_stages,
            "DEPTH_LOG2": DEPTH_LOG2,
        },
        tuple(f"stce_bench.{port}" for port in PORTS),
    )


def random_tile(work: Matmul, seed: int, wild: bool) -> Tile:
    """Random operands; ``wild`` draws any bits, infinities and NaN among them."""
    draw = np.random.default_rng(seed)

    def halves(*shape: int) -> np.ndarray:
        if wild:
            return draw.integers(0, 1 << 16, shape, dtype=np.uint16).view(np.float16)
        return draw.standard_normal(shape).astype(np.float16)

    left, weights = halves(work.rows, work.depth), halves(work.depth, work.columns)
    if wild:  # magnitude order of NaN is SORE's business, not the array's
        weights = np.nan_to_num(weights)
    values, index = compress(weights, work.pattern)
    before = None
    if work.accumulate:
        before = draw.standard_normal((work.rows, work.columns)).astype(np.float32)
    return Tile(work, left, values, index, before)


def write_banks(tile: Tile, array: Array, folder: Path) -> None:
    banks = make_banks(tile, array)

    def image(rows: list[list[str]], name: str) -> None:
        lines = []
        for bank, words in enumerate(rows):
            assert len(words) <= 1 << DEPTH_LOG2
            lines += [f"@{bank << DEPTH_LOG2:x}", *words]
        (folder / name).write_text("\n".join(lines) + "\n")

    image(
        [[word[::-1].astype(">u2").tobytes().hex() for word in bank] for bank in banks.left],
        "left.hex",
    )
    image(
        [
            [f"{int(i):01x}{int(v):04x}" for i, v in zip(*pair, strict=True)]
            for pair in zip(banks.right_index, banks.right_value, strict=True)
        ],
        "right.hex",
    )
    image([[f"{int(word):08x}" for word in bank] for bank in banks.outputs], "seeds.hex")


def prepare(tile: Tile, array: Array, folder: Path) -> dict[str, object]:
    """Write the images of one case; its entry in the bench's list."""
    folder.mkdir()
    write_banks(tile, array, folder)
    return {"folder": str(folder), "fields": fields(tile.work, array)}


def simulate(cases: list[dict[str, object]], array: Array, folder: Path) -> None:
    (folder / "cases.json").write_text(json.dumps(cases))
    run_cocotb(
        build_cocotb(design(array)),
        "weft.rtl.cosimulation.bench.stce_cases",
        folder=folder,
        environment={"WEFT_CASES": str(folder / "cases.json")},
        arguments=[f"+{name}={folder / name}.hex" for name in ("left", "right", "seeds", "result")],
    )


def differing_bits(tile: Tile, array: Array, folder: Path) -> int:
    """Outputs that differ from the model's."""
    words = make_banks(tile, array).outputs.shape[1]
    found = np.zeros((array.cols, words), np.uint32)
    lines = (folder / "result.hex").read_text().split()
    memory = [word for word in lines if not word.startswith(("@", "//"))]
    for bank in range(array.cols):
        start = bank << DEPTH_LOG2
        found[bank] = [int(word, 16) for word in memory[start : start + words]]
    return int((read_outputs(found, tile.work, array) != expected(tile, array)).sum())


def matmul(
    dataflow: Dataflow, rows: int, depth: int, columns: int, pattern: Pattern, accumulate: bool
) -> Matmul:
    groups = ceil_div(depth, pattern.m)
    return Matmul(dataflow, rows, depth, columns, pattern, groups, accumulate=accumulate)


CASES = [
    (Dataflow.OS, 4, 8, 16, DENSE, False),
    (Dataflow.OS, 9, 37, 33, DENSE, True),
    (Dataflow.OS, 13, 64, 20, Pattern(2, 8), False),
    (Dataflow.OS, 8, 50, 16, Pattern(2, 4), True),
    (Dataflow.OS, 5, 33, 40, Pattern(4, 16), False),
    (Dataflow.OS, 3, 16, 5, Pattern(1, 8), True),
    (Dataflow.OS, 6, 40, 17, Pattern(3, 5), False),
    (Dataflow.OS, 6, 64, 17, Pattern(2, 16), False),
    (Dataflow.OS, 7, 24, 9, Pattern(1, 4), False),
    (Dataflow.OS, 7, 24, 9, Pattern(4, 8), False),
    (Dataflow.WS, 16, 4, 4, DENSE, False),
    (Dataflow.WS, 50, 11, 9, DENSE, True),
    (Dataflow.WS, 13, 64, 10, Pattern(2, 8), False),
    (Dataflow.WS, 60, 50, 16, Pattern(2, 4), True),
    (Dataflow.WS, 5, 70, 7, Pattern(4, 16), False),
    (Dataflow.WS, 33, 16, 5, Pattern(1, 8), True),
    (Dataflow.WS, 21, 40, 17, Pattern(3, 5), False),
    (Dataflow.WS, 6, 64, 17, Pattern(2, 16), False),
    (Dataflow.WS, 29, 24, 9, Pattern(1, 4), False),
    (Dataflow.WS, 100, 24, 9, Pattern(4, 8), False),
]


Case = tuple[Dataflow, int, int, int, Pattern, bool]
"""Dataflow, rows, depth, columns, pattern, accumulate."""


def name_of(case: Case) -> str:
    dataflow, rows, depth, columns, pattern, accumulate = case
    return f"{dataflow.name}-{pattern}-{rows}x{depth}x{columns}{'+' if accumulate else ''}"


def check(cases: list[Case], array: Array, folder: Path) -> None:
    """Run all cases in one simulation: every cycle count is the form's, every bit the model's."""
    tiles = {
        f"{number}-{name_of(case)}": random_tile(
            matmul(*case), seed=len(str(case)), wild=case[1] % 2 == 1
        )
        for number, case in enumerate(cases)
    }
    folders = {name: folder / name.replace(":", "_") for name in tiles}
    simulate([prepare(tiles[name], array, folders[name]) for name in tiles], array, folder)
    found = {
        name: (
            json.loads((folders[name] / "cycles.json").read_text()),
            differing_bits(tile, array, folders[name]),
        )
        for name, tile in tiles.items()
    }
    assert found == {name: (matmul_cycles(array, tile.work), 0) for name, tile in tiles.items()}


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.rows}x{a.cols}")
def test_cycles_and_bits(array: Array, tmp_path: Path) -> None:
    check(CASES, array, tmp_path)


def random_cases(array: Array, count: int, seed: int) -> list[Case]:
    """Cases of any pattern and dataflow whose operands and outputs fit the bench's banks."""
    draw = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        m = draw.randint(1, 16)
        pattern = DENSE if draw.random() < 0.2 else Pattern(draw.randint(1, m), m)
        case = (
            draw.choice(list(Dataflow)),
            draw.randint(1, 6 * array.rows),
            draw.randint(1, 4 * max(array.rows, 16)),
            draw.randint(1, 3 * array.cols * array.interleave),
            DENSE if pattern.is_dense else pattern,
            draw.random() < 0.5,
        )
        shape = fields(matmul(*case), array)
        passes = shape["row_passes"] * shape["column_passes"]
        right = passes * (
            shape["n_keep"] * array.rows
            if shape["weight_stationary"]
            else shape["steps"] * array.interleave
        )
        outputs = passes * array.rows * array.interleave
        left = shape["left_step"] * shape["row_passes"]
        if max(right, outputs, left, shape["column_passes"] * shape["vectors"]) <= 1 << DEPTH_LOG2:
            cases.append(case)
    return cases


ODD = Array(rows=3, cols=5, interleave=5, multiplier_stages=1, adder_stages=2)


def test_random_instructions_on_an_odd_array(tmp_path: Path) -> None:
    check(random_cases(ODD, 60, seed=1), ODD, tmp_path)


@pytest.mark.deep
@pytest.mark.parametrize(
    "array",
    [
        *(*ARRAYS, ODD),
        *(Array(1, 1, 1, 1, 1), Array(2, 7, 9, 3, 4), Array(4, 4, 6, 2, 4), Array(5, 1, 8, 4, 8)),
        *(Array(1, 6, 4, 2, 3), Array(16, 16, 4, 2, 4)),
    ],
    ids=str,
)
def test_random_instructions(array: Array, tmp_path: Path) -> None:
    check(random_cases(array, 400, seed=array.rows * array.cols), array, tmp_path)


def test_words_hold_whole_groups() -> None:
    assert LANES == 16
    shape = fields(matmul(Dataflow.OS, 4, 40, 4, Pattern(3, 5), False), ARRAYS[0])
    assert (shape["group_shift"], shape["left_step"]) == (1, 4)


@pytest.mark.parametrize(
    "array", [*ARRAYS, dataclasses.replace(ARRAYS[0], interleave=6), Array(1, 1, 1, 1, 1)]
)
def test_lints_clean_with_all_warnings_on(array: Array) -> None:
    parameters = {k: v for k, v in design(array).parameters.items() if k != "DEPTH_LOG2"}
    lint(Design("stce_unit", sources_of(*PARTS), parameters))
