"""The engine agrees with plain stepping on random programs, and its cost is flat in iterations."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.sim.programs import TINY, pipelines, programs, step
from weft.sim.engine import Engine
from weft.sim.program import (
    Program,
    Queue,
    check_program,
)

RELAXED = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def agree(program: Program) -> None:
    check_program(program)
    plain = step(program, TINY)
    timing = Engine(TINY).run(program)
    assert timing.cycles == max(plain.finishes)
    assert sum(segment.span_cycles for segment in timing.segments) == timing.cycles
    for queue in Queue:
        found = sum(sum(segment.stall_cycles[queue]) for segment in timing.segments)
        assert found == plain.stall[queue], queue


@given(programs())
@RELAXED
def test_engine_equals_stepping_on_any_program(program: Program) -> None:
    agree(program)


@given(pipelines())
@RELAXED
def test_engine_equals_stepping_on_tiled_loops(program: Program) -> None:
    agree(program)
