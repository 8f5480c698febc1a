"""WUVE's vector ops on ``sat_top``, every program: the reference's bits, the engine's cycles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.rtl.vector_cases import elementwise_cases, pool_cases, row_cases
from weft.rtl.build import Design, lint
from weft.rtl.cosim import compare
from weft.rtl.product import Case
from weft.rtl.simulate import IDEAL, Pauses, simulate
from weft.rtl.structure import closure
from weft.sim.machine import Machine, load_machine

MACHINE = load_machine("sat-4x4")


def check(machine: Machine, cases: list[Case], pauses: list[Pauses] | None = None) -> None:
    pauses = pauses or [IDEAL] * len(cases)
    for case, pause, run in zip(cases, pauses, simulate(machine, cases, pauses), strict=True):
        result = compare(case, machine, pause, run, 0.0)
        assert not result.differences, (case.name, result.differences[:3])


def test_every_elementwise_program() -> None:
    check(MACHINE, elementwise_cases(MACHINE))


def test_every_program_of_rows() -> None:
    check(MACHINE, row_cases(MACHINE, 7) + pool_cases(MACHINE))


def test_back_pressure_on_another_array() -> None:
    machine = load_machine("sat-8x8")
    cases = row_cases(machine, 3)[::3]
    check(machine, cases, [Pauses(40, 40, 40, 40, 40, seed) for seed in range(len(cases))])


def test_other_lanes_slots_and_pipelines() -> None:
    machine = replace(
        MACHINE,
        buffers=replace(MACHINE.buffers, vector_bytes=16384),
        array=replace(MACHINE.array, multiplier_stages=3, adder_stages=5, interleave=5),
        wuve=replace(MACHINE.wuve, lanes=8, slots=32, pipeline_cycles=40),
    )
    check(machine, row_cases(machine, 5)[::4] + pool_cases(machine))


VARIANTS = [
    ("wuve", {"LANES": 64, "SLOTS": 16}),
    ("wuve", {"LANES": 2, "SLOTS": 32, "LM": 3, "LA": 5}),
    ("output_buffer", {"COLS": 4, "LANES": 16, "BEAT_BYTES": 8}),
    ("output_buffer", {"COLS": 16, "LANES": 4, "BEAT_BYTES": 32, "BANKS": 3, "WORDS": 192}),
    ("output_buffer", {"COLS": 4, "LANES": 4}),
]


@pytest.mark.parametrize(("top", "parameters"), VARIANTS)
def test_lints_clean_with_all_warnings_on(top: str, parameters: dict[str, int]) -> None:
    lint(Design(top, closure(top), parameters))
