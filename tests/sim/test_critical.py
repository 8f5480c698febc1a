"""The critical path's account adds up, and bounds what any change of the machine can do."""

from __future__ import annotations

import dataclasses

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sim.programs import TINY, pipelines, programs, step
from weft.sim.engine import Engine
from weft.sim.engine.critical import Part, critical_path
from weft.sim.program import Program

RELAXED = settings(deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))


@given(st.one_of(programs(), pipelines()))
@RELAXED
def test_parts_add_up_to_the_exact_time(program: Program) -> None:
    found = critical_path(program, TINY)
    assert found.cycles == max(step(program, TINY).finishes)
    assert sum(found.parts.values()) == found.cycles


@given(st.one_of(programs(), pipelines()), st.integers(0, 30), st.integers(0, 30))
@RELAXED
def test_other_latencies_never_beat_the_bound(
    program: Program, read_latency: int, write_latency: int
) -> None:
    found = critical_path(program, TINY)
    memory = dataclasses.replace(
        TINY.memory, read_latency_cycles=read_latency, write_latency_cycles=write_latency
    )
    again = Engine(dataclasses.replace(TINY, memory=memory)).run(program).cycles
    changes = {
        Part.READ_LATENCY: read_latency / TINY.memory.read_latency_cycles - 1,
        Part.WRITE_LATENCY: write_latency / TINY.memory.write_latency_cycles - 1,
    }
    assert again >= found.bound_after(changes) - 1e-6
