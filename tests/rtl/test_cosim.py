"""Whole tiled products on ``sat_top``: no cycle and no bit differs from engine and reference."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from weft.rtl.cosimulation.casefile import CaseFileError
from weft.rtl.cosimulation.cosim import CosimError, cosim, cosim_cases, random_case, replay, run_one
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import IDEAL, Pauses
from weft.rtl.cosimulation.waveform import WaveformError
from weft.sim.machine import Machine, load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import Dataflow

PATTERNS = ("dense", "1:4", "2:4", "2:8", "4:8", "1:8", "2:16", "4:16", "3:6")
FUSED = ("", "relu", "", "gelu", "")
"""The vector op behind every fifth product of the suite, in turn."""

ARRAYS = ("4x4", "4x8", "8x8")


def random_suite(machine: Machine, count: int, largest: int, seed: int) -> list[Case]:
    """Products of random sizes; every pattern and dataflow in turn, of two in five a fused op."""
    draw = np.random.default_rng(seed)
    cases: list[Case] = []
    for index in range(count):
        m, k, n = (int(size) for size in draw.integers(1, largest, 3))
        pattern = Pattern.parse(PATTERNS[index // 2 % len(PATTERNS)])
        dataflow = Dataflow(index % 2)
        fused = FUSED[index % len(FUSED)]
        cases.append(random_case(machine, (m, k, n), pattern, dataflow, seed + index, fused))
    return cases


def random_pauses(count: int, seed: int) -> list[Pauses]:
    """Every other memory ideal, the others with their own back-pressure."""
    draw = np.random.default_rng(seed)
    pauses: list[Pauses] = []
    for index in range(count):
        odds = [int(odd) for odd in draw.integers(0, 200, 5) * draw.integers(0, 2, 5)]
        pauses.append(Pauses(*odds, seed=index + 1) if index % 2 else IDEAL)
    return pauses


def agree(machine: Machine, cases: list[Case], pauses: list[Pauses]) -> None:
    results = cosim_cases(machine, cases, pauses)
    for result in results:
        assert result.agrees, (result.name, result.differences)
    print(machine.name, "cycles", sum(result.rtl_cycles for result in results))
    print("instructions", sum(len(result.instructions) for result in results))
    print("bytes", sum(result.values_checked for result in results))


@pytest.mark.parametrize("array", ARRAYS)
def test_random_products_agree(array: str) -> None:
    machine = load_machine(f"sat-{array}")
    cases = random_suite(machine, 54, 60, seed=100)
    # Pairs of ideal and paused memories must not follow the pairs of dataflows.
    agree(machine, cases, random_pauses(108, seed=7)[: 54 // 2] + random_pauses(27, seed=8)[::-1])


def test_one_product_from_the_command_line() -> None:
    result = cosim((30, 40, 20), "2:8", "ws", (4, 4), seed=3)
    assert result.agrees
    assert result.rtl_cycles == result.engine_cycles == result.reference_cycles > 0
    assert len(result.instructions) > 10
    assert result.values_checked > 1000


def test_refuses_what_it_cannot_run() -> None:
    with pytest.raises(CosimError, match="dataflow 'is'; known: os, ws"):
        cosim(dataflow="is")
    with pytest.raises(CosimError, match="array 5x5; machines ship for"):
        cosim(array=(5, 5))
    with pytest.raises(CosimError, match="each size is at least 1"):
        cosim((0, 1, 1))


def test_replay_refuses_what_is_no_case(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_text("nothing")
    with pytest.raises(CaseFileError, match="is no co-simulation case"):
        replay(tmp_path / "x.npz")


def test_pauses_slow_the_memory_and_still_agree() -> None:
    pauses = Pauses(90, 90, 90, 90, 90, seed=5)
    fast = cosim((16, 32, 16), "dense", "os", (4, 4), seed=1)
    slow = cosim((16, 32, 16), "dense", "os", (4, 4), seed=1, pauses=pauses)
    assert slow.agrees
    assert slow.rtl_cycles > fast.rtl_cycles


def test_a_difference_is_told_saved_and_replayed(tmp_path: Path) -> None:
    machine = load_machine("sat-4x4")
    case = random_case(machine, (8, 16, 16), Pattern.parse("2:8"), Dataflow.OS, 4)
    assert case.expected is not None
    wrong = case.expected.copy()
    place = case.tensors["output"] + 5
    wrong[place] ^= 1
    result = run_one(dataclasses.replace(case, expected=wrong), machine, save=tmp_path)
    assert result.values_different == 1
    assert not result.agrees
    assert any(f"memory at 0x{place:x}" in line for line in result.differences)
    command, _, path = result.replay.rpartition(" ")
    assert command == "weft cosim --program"
    again = replay(Path(path), save=tmp_path / "again")
    assert again.differences == result.differences
    assert again.instructions == result.instructions


@pytest.mark.deep
def test_a_waveform_of_the_run(tmp_path: Path) -> None:
    wave = tmp_path / "wave.vcd"
    assert cosim((4, 16, 16), "2:8", "os", (4, 4), seed=1, wave=wave).agrees
    assert wave.read_text(encoding="utf-8").startswith("$version")


def test_refuses_unknown_waveforms(tmp_path: Path) -> None:
    with pytest.raises(WaveformError, match=r"the file ends in .vcd or .fst"):
        cosim((4, 16, 16), wave=tmp_path / "wave.png", save=tmp_path)


DEEP = {"4x4": 1000, "4x8": 400, "8x8": 400, "16x16": 150, "32x32": 50}


@pytest.mark.deep
@pytest.mark.parametrize("array", DEEP)
def test_two_thousand_random_products_agree(array: str) -> None:
    machine = load_machine(f"sat-{array}")
    count, batch = DEEP[array], 50
    for first in range(0, count, batch):
        cases = random_suite(machine, batch, 48 + 3 * machine.array.rows, seed=10_000 + first)
        agree(machine, cases, random_pauses(batch, seed=first)[::-1])


@pytest.mark.deep
def test_a_layer_of_a_residual_network_agrees() -> None:
    """A 3x3 convolution of 128 channels to 128 at 28x28, as the product it is."""
    result = cosim((28 * 28, 128 * 9, 128), "2:8", "os", (32, 32), seed=1)
    assert result.agrees, result.differences
    assert result.rtl_cycles > 25_000
