"""Everything that says "agrees" says so of nothing that differs."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.rtl.cosimulation.cosim import CosimResult, compare, random_case
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import IDEAL, RtlRun
from weft.sim.machine import load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import Dataflow
from weft.sim.reference.stepper import run_program
from weft.step_cosim import Checked, StepResult, compared

MACHINE = load_machine("sat-4x4")


@cache
def perfect() -> tuple[Case, RtlRun]:
    """A case, and the run that a Verilog without a fault gives."""
    case = random_case(MACHINE, (9, 24, 10), Pattern(2, 8), Dataflow.OS, 1)
    run = run_program(case.program, MACHINE, case.memory, case.tensors)
    return case, RtlRun(run.cycles, run.spans, run.memory)


def result_of(run: RtlRun, case: Case | None = None) -> CosimResult:
    return compare(case or perfect()[0], MACHINE, IDEAL, run, 0.0)


def test_what_is_the_same_agrees() -> None:
    result = result_of(perfect()[1])
    assert result.agrees
    assert result.differences == ()


@given(st.data())
def test_one_cycle_of_one_instruction_is_a_difference(data: st.DataObject) -> None:
    run = perfect()[1]
    place = data.draw(st.integers(0, len(run.spans) - 1))
    field = data.draw(st.sampled_from(["start", "free", "finish"]))
    step = data.draw(st.sampled_from([-1, 1]))
    spans = list(run.spans)
    spans[place] = dataclasses.replace(spans[place], **{field: getattr(spans[place], field) + step})
    result = result_of(dataclasses.replace(run, spans=tuple(spans)))
    assert not result.agrees
    assert result.cycle_difference == 1
    assert any(f"instruction {place} " in text for text in result.differences)


@pytest.mark.parametrize("step", [-1, 1])
def test_one_cycle_of_the_whole_is_a_difference(step: int) -> None:
    run = perfect()[1]
    assert not result_of(dataclasses.replace(run, cycles=run.cycles + step)).agrees


@given(st.data())
def test_one_bit_of_memory_is_a_difference(data: st.DataObject) -> None:
    case, run = perfect()
    place = data.draw(st.integers(0, run.memory.size - 1))
    memory = run.memory.copy()
    memory[place] ^= 1 << data.draw(st.integers(0, 7))
    result = result_of(dataclasses.replace(run, memory=memory))
    assert not result.agrees
    assert result.values_different == 1
    assert f"memory at 0x{place:x}" in result.differences[0]
    # What the product should be differs, though the reference agrees with the Verilog.
    assert not result_of(run, dataclasses.replace(case, expected=memory)).agrees


@given(
    st.lists(st.binary(min_size=4, max_size=4), min_size=1, max_size=9),
    st.integers(0, 2**36 - 1),
    st.sampled_from([1, 2, 4]),
)
def test_a_value_differs_where_any_of_its_bytes_does(
    words: list[bytes], flips: int, size: int
) -> None:
    wanted = np.frombuffer(b"".join(words), np.uint8)
    mask = np.array([flips >> place & 1 for place in range(wanted.size)], np.uint8)
    found = wanted ^ mask
    values = [
        (wanted[at : at + size].tobytes(), found[at : at + size].tobytes())
        for at in range(0, wanted.size, size)
    ]
    check = compared("t", found, wanted, size)
    assert check == Checked("t", len(values), sum(a != b for a, b in values))


def test_a_step_agrees_only_with_torch_and_its_price() -> None:
    cosim = result_of(perfect()[1])
    good = (Checked("a:half", 8, 0), Checked("output", 4, 0))
    assert StepResult(cosim, cosim.rtl_cycles, good).agrees
    for bad in ((*good, Checked("b", 3, 1)), (Checked("b", 3, 3), *good)):
        assert not StepResult(cosim, cosim.rtl_cycles, bad).agrees
    for cycles in (cosim.rtl_cycles - 1, cosim.rtl_cycles + 1):
        assert not StepResult(cosim, cycles, good).agrees
    for change in ({"cycle_difference": 1}, {"values_different": 1}):
        wrong = dataclasses.replace(cosim, **change)
        assert not StepResult(wrong, cosim.rtl_cycles, good).agrees
