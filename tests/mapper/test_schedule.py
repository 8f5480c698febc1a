"""Schedules: complete, well-formed, optimal over the declared space, and exact."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mapper.products import SMALL, convolutions, matrices, product
from tests.sim.programs import step
from weft.mapper.scheduling.emit import Gate, emit_product
from weft.mapper.scheduling.geometry import problems
from weft.mapper.scheduling.schedule import ScheduleError, Scheduler, start_tokens
from weft.mapper.scheduling.switches import Switches, parse_without
from weft.mapper.scheduling.tiling import Fused, enumerate_tilings, tile_runs
from weft.sim.energy.actions import ActionCounter
from weft.sim.engine import Engine
from weft.sim.machine import Array, Buffers, load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import Channel, Program, Segment, check_program
from weft.sim.workload import Convolution, Product, Stage

MEDIUM = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
ON = Switches()


def program_of(body: tuple[object, ...], stored: int = 0) -> Program:
    tokens = (*start_tokens(SMALL, ON), (Channel.STORED, stored))
    return Program((Segment("p", body),), tokens)  # pyright: ignore[reportArgumentType]


@given(st.one_of(matrices(), convolutions()))
@MEDIUM
def test_best_schedule_does_all_the_work_once(work: Product) -> None:
    scheduler = Scheduler(SMALL)
    body = scheduler.body(work, Fused(), Gate())
    check_program(program_of(body))
    actions = ActionCounter(SMALL).body(body)
    if work.stage is Stage.WU and work.sparse_operand:  # every tile of pixels pads its last group
        assert work.macs_done <= actions.macs <= work.macs_dense + work.macs_done
    else:
        assert actions.macs == work.macs_done
    outputs = work.batch * work.m * work.n
    if work.convolution is None or work.stage is not Stage.BP:
        assert actions.dram_write_bytes == 2 * outputs
    else:
        conv = work.convolution
        pixels = conv.images * conv.in_size[0] * conv.in_size[1]
        assert actions.dram_write_bytes == 2 * work.batch * work.n * pixels


@given(st.one_of(matrices(), convolutions()))
@MEDIUM
def test_engine_equals_stepping_on_schedules(work: Product) -> None:
    scheduler = Scheduler(SMALL)
    program = program_of(scheduler.body(work, Fused(), Gate()))
    pick = scheduler.pick(work, Fused())
    assert Engine(SMALL).run(program).cycles == max(step(program, SMALL).finishes) == pick.cycles
    assert pick.bound_cycles <= pick.cycles


@given(
    st.one_of(matrices(), convolutions()),
    st.builds(Fused, st.sampled_from([0, 0, 1, 9]), st.sampled_from([1, 2])),
)
@settings(deadline=None, max_examples=14, suppress_health_check=[HealthCheck.too_slow])
def test_pick_is_the_best_of_the_whole_space(work: Product, fused: Fused) -> None:
    pick = Scheduler(SMALL).pick(work, fused)
    best = None
    for problem in problems(work):
        table = enumerate_tilings(problem, SMALL, ON, fused)
        assert table is not None
        for row in range(table.bound_cycles.size):
            body = emit_product(problem, table.tiling(row), ON, fused, Gate())
            cycles = Engine(SMALL).run(program_of(body)).cycles
            assert table.bound_cycles[row] <= cycles
            best = cycles if best is None else min(best, cycles)
    if pick.proven:
        assert pick.cycles == best
    else:
        assert best is not None
        assert pick.bound_cycles <= best <= pick.cycles


@given(st.one_of(matrices(), convolutions()), st.sampled_from(["", "left", "right"]))
@MEDIUM
def test_a_gate_holds_all_but_the_operand_that_may_run_ahead(work: Product, ahead: str) -> None:
    scheduler = Scheduler(SMALL)
    body = scheduler.body(work, Fused(), Gate(True, ahead))
    program = program_of(body, stored=1)
    check_program(program)
    ungated = ActionCounter(SMALL).body(scheduler.body(work, Fused(), Gate()))
    assert ActionCounter(SMALL).body(body).dram_bytes == ungated.dram_bytes


@given(matrices(), st.integers(1, 3), st.integers(1, 2))
@MEDIUM
def test_fused_vector_work_is_counted(work: Product, passes: int, stores: int) -> None:
    body = Scheduler(SMALL).body(work, Fused(passes, stores), Gate())
    check_program(program_of(body))
    actions = ActionCounter(SMALL).body(body)
    outputs = work.batch * work.m * work.n
    assert actions.wuve_ops == passes * outputs
    assert actions.dram_write_bytes == 2 * stores * outputs


def conv(stage: Stage, channels: int, filters: int, size: int, images: int) -> Product:
    geometry = Convolution(
        images, channels, filters, (size, size), (size, size), (3, 3), (1, 1), (1, 1)
    )
    pixels = images * size * size
    sizes = {
        Stage.FF: (pixels, channels * 9, filters),
        Stage.BP: (pixels, filters * 9, channels),
        Stage.WU: (channels * 9, pixels, filters),
    }[stage]
    return product(stage, *sizes, convolution=geometry)


@pytest.mark.parametrize("stage", [Stage.FF, Stage.BP, Stage.WU])
def test_a_convolution_reads_its_input_and_halos_not_nine_times(stage: Stage) -> None:
    machine = load_machine("sat-vcu1525")
    work = conv(stage, 32, 32, 28, 4)
    actions = ActionCounter(machine).body(Scheduler(machine).body(work, Fused(), Gate()))
    tensors = 2 * 4 * 28 * 28 * 32 * (2 if stage is Stage.WU else 1)
    weights = 0 if stage is Stage.WU else 2 * 9 * 32 * 32
    assert tensors + weights <= actions.dram_read_bytes < 2 * tensors + weights
    whole = problems(work)[-1]
    sizes = {axis: getattr(whole, axis).size for axis in ("m", "n", "k")}
    regions = (whole.left, whole.right)
    runs = [run for region in regions for run in tile_runs(whole, region, 1, sizes)]
    assert sum(count * size for count, size in runs) == tensors + weights


def test_compressed_weights_are_read_with_their_index_bits() -> None:
    machine = load_machine("sat-vcu1525")
    work = product(Stage.FF, 64, 512, 64).with_sparsity("right", Pattern(2, 8))
    actions = ActionCounter(machine).body(Scheduler(machine).body(work, Fused(), Gate()))
    assert actions.dram_read_bytes == 2 * 64 * 512 + 512 * 64 * 2 // 8 * 19 // 8


@pytest.mark.parametrize(
    ("feature", "pattern"),
    [
        ("interleave", Pattern(2, 8)),  # dense WS streams independent sums and needs none
        ("double-buffering", Pattern(1, 1)),
        ("double-buffering", Pattern(2, 8)),
        ("offline-scheduling", Pattern(1, 1)),
        ("offline-scheduling", Pattern(2, 8)),
    ],
)
def test_turning_a_feature_off_costs_cycles(feature: str, pattern: Pattern) -> None:
    machine = load_machine("sat-vcu1525")
    work = conv(Stage.FF, 128, 128, 28, 64).with_sparsity("right", pattern)
    whole = Scheduler(machine).pick(work, Fused()).cycles
    without = Scheduler(machine, parse_without(feature)).pick(work, Fused()).cycles
    assert without > whole


def test_buffers_too_small_for_one_tile_are_refused() -> None:
    tiny = dataclasses.replace(
        SMALL, buffers=Buffers(64, 64, 64, 64, 64, 2), array=Array(4, 4, 4, 2, 4)
    )
    with pytest.raises(ScheduleError, match="not one tile of 64 x 64 x 64 fits"):
        Scheduler(tiny).pick(product(Stage.FF, 64, 64, 64), Fused())


def test_unknown_feature_is_named() -> None:
    with pytest.raises(ValueError, match="unknown feature 'prefetch'; known: interleave"):
        parse_without("prefetch")
