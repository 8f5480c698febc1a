"""The cycle-by-cycle stepper starts and ends every scheduled instruction when the engine says.

All patterns with M of 4, 8 and 16, both dataflows, ragged edges, fused work, and every combination
of the ablation switches.
"""

from __future__ import annotations

from itertools import product as cross

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mapper.products import SMALL, convolutions, matrices, product
from tests.mapper.test_sparsify import workload
from weft.mapper.planning.plan import make_plan
from weft.mapper.scheduling.emit import Gate, emit_product
from weft.mapper.scheduling.geometry import problems
from weft.mapper.scheduling.schedule import Scheduler, start_tokens
from weft.mapper.scheduling.switches import Switches
from weft.mapper.scheduling.tiling import Fused, enumerate_tilings
from weft.mapper.sparsity.sparsify import SkipRules, apply_recipe
from weft.models.recipes import RECIPES
from weft.sim.engine import Engine
from weft.sim.pattern import DENSE, Pattern
from weft.sim.program import Dataflow, Program, Segment, check_program, count_instructions
from weft.sim.reference.stepper import run_program
from weft.sim.workload import Product, Stage

ALL_SWITCHES = [Switches(*on) for on in cross((True, False), repeat=4)]
PATTERNS = [DENSE, *(Pattern(n, m) for m in (4, 8, 16) for n in range(1, m + 1))]
MOST = 2500
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def agree(program: Program) -> None:
    """Start, release and finish of every instruction, and the end of the run."""
    check_program(program)
    run = run_program(program, SMALL)
    slices = Engine(SMALL).timeline(program, 0, len(program.segments), len(run.spans))
    assert len(slices) == count_instructions(program.body)
    assert [(s.start, s.occupied_until, s.finish) for s in slices] == [
        (span.start, span.free, span.finish) for span in run.spans
    ]
    assert Engine(SMALL).run(program).cycles == max(span.finish for span in run.spans)


def scheduled(
    work: Product, dataflow: Dataflow, row: int, switches: Switches, fused: Fused
) -> Program | None:
    """``work`` under one tiling of its map space; None where that would take too long to step."""
    for problem in problems(work):
        table = enumerate_tilings(problem, SMALL, switches, fused)
        assert table is not None
        rows = [
            index
            for index in range(table.bound_cycles.size)
            if table.tiling(index).dataflow is dataflow
        ]
        if not rows:
            continue
        tiling = table.tiling(rows[row % len(rows)])
        body = emit_product(problem, tiling, switches, fused, Gate())
        program = Program((Segment("product", body),), start_tokens(SMALL, switches))
        if count_instructions(program.body) <= MOST:
            return program
    return None


@pytest.mark.parametrize("dataflow", Dataflow)
@given(
    work=st.one_of(matrices(), convolutions()),
    row=st.integers(0, 1 << 20),
    switches=st.sampled_from(ALL_SWITCHES),
    fused=st.builds(Fused, st.sampled_from([0, 0, 3]), st.sampled_from([1, 2])),
)
@settings(deadline=None, max_examples=30, suppress_health_check=SLOW)
def test_any_tiling_of_any_product(
    dataflow: Dataflow, work: Product, row: int, switches: Switches, fused: Fused
) -> None:
    program = scheduled(work, dataflow, row, switches, fused)
    if program is not None:
        agree(program)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("dataflow", Dataflow)
def test_every_pattern_in_both_dataflows_with_ragged_edges(
    pattern: Pattern, dataflow: Dataflow
) -> None:
    work = product(Stage.FF, 13, 3 * 16 + 5, 11).with_sparsity("right", pattern)
    program = scheduled(work, dataflow, 3, Switches(), Fused())
    assert program is not None
    agree(program)


@pytest.mark.parametrize(
    "switches", ALL_SWITCHES, ids=lambda s: "".join("01"[on] for on in vars(s).values())
)
@pytest.mark.parametrize("recipe", ["dense", "bdwp", "sdgp", "bimask"])
def test_whole_steps_under_every_combination_of_switches(recipe: str, switches: Switches) -> None:
    applied = apply_recipe(
        workload(20),
        RECIPES[recipe],
        Pattern(2, 8),
        skip=SkipRules(stem=False, classifier=False),
        pregenerate=switches.pregeneration,
    )
    agree(make_plan(applied.workload, Scheduler(SMALL, switches)).program)
