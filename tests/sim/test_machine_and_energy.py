"""Machine files, energy tables and action counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.sim.energy import energy_of, load_energy_table, technologies
from weft.sim.energy.actions import ActionCounter, Actions
from weft.sim.machine import MachineError, load_machine, machine_names, machine_text, parse_machine
from weft.sim.pattern import DENSE, Pattern
from weft.sim.program import Dataflow, Instruction, Loop, Matmul, Queue, Transfer
from weft.sim.program.timing import matmul_cycles, matmul_issue_cycles

SAT = load_machine("sat-vcu1525")


@pytest.mark.parametrize("name", machine_names())
def test_every_shipped_machine_is_valid_and_has_energies(name: str) -> None:
    machine = load_machine(name)
    assert machine.name == name
    assert load_energy_table(machine.technology).rows


def test_the_default_machine_has_the_peak_that_the_paper_derives() -> None:
    """32 x 32 at 200 MHz: 409.6 dense GFLOP/s (reference: SAT, derived)."""
    assert 2 * SAT.peak_macs_per_cycle * SAT.clock_hz == 409.6e9


@pytest.mark.parametrize("technology", technologies())
def test_every_energy_row_has_a_source(technology: str) -> None:
    rows = load_energy_table(technology).rows
    assert len(rows) == 8
    assert all(row.source and row.value >= 0 for row in rows)


def test_an_unknown_technology_is_named() -> None:
    with pytest.raises(ValueError, match="technology '3nm' has no energy table; known: 45nm"):
        load_energy_table("3nm")


def test_energy_is_counts_times_table() -> None:
    table = load_energy_table("45nm")
    energy = energy_of(Actions(macs=10**12, dram_read_bytes=10**9), 1.0, table)
    assert energy.stce_j == pytest.approx(2.0)
    assert energy.dram_j == pytest.approx(0.1625)
    assert energy.total_j == pytest.approx(2.1625)


@given(st.integers(1, 40), st.integers(1, 300), st.integers(1, 50))
def test_loops_are_counted_without_unrolling(outer: int, size: int, inner: int) -> None:
    load = Instruction(Queue.LOAD, Transfer(((2, size),), "left"))
    counter = ActionCounter(SAT)
    looped = counter.body((Loop(outer, (load, Loop(inner, (load,)))),))
    assert looped == counter.body((load,) * (outer * (1 + inner)))


@given(
    st.sampled_from(list(Dataflow)),
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([DENSE, Pattern(2, 8), Pattern(1, 4)]),
)
def test_issue_cycles_hold_all_work_and_fit_in_the_instruction(
    dataflow: Dataflow, rows: int, depth: int, columns: int, pattern: Pattern
) -> None:
    work = Matmul(dataflow, rows, depth, columns, pattern, pattern.groups(depth))
    issue = matmul_issue_cycles(SAT.array, work)
    macs = ActionCounter(SAT).instruction(Instruction(Queue.STCE, work)).macs
    assert macs <= issue * SAT.peak_macs_per_cycle
    assert issue < matmul_cycles(SAT.array, work)


def test_a_machine_that_lacks_a_table_says_which() -> None:
    text = machine_text("sat-vcu1525").replace("[sore]", "[sorting]")
    with pytest.raises(MachineError, match="sore is missing"):
        parse_machine(text, "mine.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [("8:2", "N:M needs 1 <= N <= M <= 16"), ("2:32", "<= 16"), ("28", "is not N:M")],
)
def test_impossible_patterns_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pattern.parse(text)
