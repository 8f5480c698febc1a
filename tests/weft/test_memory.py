"""The detailed memory as an option of a run."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.models.zoo import build
from weft.rtl.cosimulation.parameters import UnsupportedMachineError, parameters
from weft.sim.machine import load_machine, with_memory
from weft.sim.program import Transfer
from weft.sim.program.timing import transfer_beats, transfer_cycles
from weft.simulation import Settings, simulate_workload, trace_workload

MACHINE = load_machine("sat-vcu1525")
DETAILED = with_memory(MACHINE, "ddr4-2400")


@given(
    runs=st.lists(st.tuples(st.integers(1, 500), st.integers(1, 1 << 20)), min_size=1, max_size=4),
    write=st.booleans(),
)
@settings(deadline=None)
def test_a_transfer_never_beats_its_port(runs: list[tuple[int, int]], write: bool) -> None:
    work = Transfer(tuple(runs), "left")
    port = MACHINE.memory.write_bytes_per_cycle if write else MACHINE.memory.read_bytes_per_cycle
    assert transfer_cycles(work, MACHINE, write=write) == transfer_beats(work, port)
    assert transfer_cycles(work, DETAILED, write=write) >= transfer_beats(work, port)


def test_a_long_stream_loses_what_refresh_and_turns_take() -> None:
    work = Transfer(((64, 1 << 20),), "left")
    slower = transfer_cycles(work, DETAILED, write=False) / transfer_beats(work, 256)
    assert slower == pytest.approx(1 / 0.8892, rel=1e-3)


def test_a_run_says_which_memory_it_had_and_is_slower() -> None:
    workload = trace_workload(lambda: build("mlp", batch=64), name="mlp")
    simple = simulate_workload(workload, Settings())
    detailed = simulate_workload(workload, Settings().on("sat-vcu1525", memory="ddr4-2400"))
    assert detailed.result.hardware == "sat-vcu1525+ddr4-2400"
    assert any("ddr4-2400 in detail" in note for note in detailed.result.notes)
    assert (simple.cycles or 0) < (detailed.cycles or 0)
    assert simple.result.total.dram_bytes == detailed.result.total.dram_bytes
    assert detailed.schedules.plans[0].program == simple.schedules.plans[0].program
    busy = {unit.unit: unit for unit in detailed.result.units}
    plain = {unit.unit: unit for unit in simple.result.units}
    assert busy["load"].busy_cycles > plain["load"].busy_cycles


def test_simple_overrides_the_machine_file() -> None:
    assert with_memory(DETAILED, "simple").memory == MACHINE.memory


def test_gpus_have_a_memory_of_their_own() -> None:
    workload = trace_workload(lambda: build("mlp", batch=64), name="mlp")
    with pytest.raises(ValueError, match="memory 'hbm2e' is for SAT machines, not h100-sxm"):
        simulate_workload(workload, Settings().on("h100-sxm", memory="hbm2e"))


def test_the_verilog_refuses_it() -> None:
    machine = load_machine("sat-4x4")
    detailed = dataclasses.replace(
        machine, memory=dataclasses.replace(machine.memory, dram="ddr4-2400")
    )
    with pytest.raises(UnsupportedMachineError, match=r"memory\.dram = 'ddr4-2400'"):
        parameters(detailed)
