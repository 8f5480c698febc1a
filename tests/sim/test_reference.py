"""The cycle-by-cycle reference agrees with the engine and with naive stepping."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from tests.sim.programs import TINY, pipelines, programs, step
from weft.sim.engine import Engine
from weft.sim.program import Program, count_instructions
from weft.sim.reference.stepper import run_program

RELAXED = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def agree(program: Program) -> None:
    run = run_program(program, TINY)
    plain = step(program, TINY)
    assert [span.start for span in run.spans] == plain.starts
    assert [span.finish for span in run.spans] == plain.finishes
    assert max(plain.finishes) == Engine(TINY).run(program).cycles
    slices = Engine(TINY).timeline(program, 0, len(program.segments), len(run.spans))
    assert len(slices) == count_instructions(program.body)
    assert [(s.start, s.occupied_until, s.finish) for s in slices] == [
        (span.start, span.free, span.finish) for span in run.spans
    ]


@given(programs(most=12))
@RELAXED
def test_any_program_runs_as_the_engine_says(program: Program) -> None:
    agree(program)


@given(pipelines(most=60))
@RELAXED
def test_tiled_loops_run_as_the_engine_says(program: Program) -> None:
    agree(program)
