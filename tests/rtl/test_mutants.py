"""Every planted fault is caught: in the Verilog, in the closed forms, and in the engine."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, find, settings
from hypothesis.errors import NoSuchExample

from tests.rtl.test_queue import random_program
from tests.rtl.vector_cases import (
    elementwise_cases,
    pool_cases,
    row_cases,
    several_results_cases,
)
from tests.sim.programs import TINY, pipelines, programs, step
from weft.rtl.checking.mutants import MUTANTS, plant
from weft.rtl.cosimulation.cosim import compare, random_case
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import IDEAL, Pauses, RtlRun, outcomes
from weft.rtl.cosimulation.stream import Mask, mask_case, update_case
from weft.sim.engine import exact as engine_module
from weft.sim.machine import load_machine
from weft.sim.pattern import DENSE, Pattern
from weft.sim.program import Dataflow, Instruction, Program, Update, expand
from weft.sim.program import timing as timing_module
from weft.sim.reference.update import adamw_constants

MACHINE = load_machine("sat-4x4")
LIMIT = 30_000


def wild_floats(draw: np.random.Generator, size: int) -> np.ndarray:
    return draw.integers(0, 1 << 32, size, dtype=np.uint32).view(np.float32)


def wild_halves(draw: np.random.Generator, size: int) -> np.ndarray:
    return draw.integers(0, 1 << 16, size, dtype=np.uint16).view(np.float16)


_VECTOR_OPS = ("maximum", "minimum", "threshold_backward", "where", "log2", "rsqrt", "tanh", "sin",
               "gelu", "normal", "add", "le")  # fmt: skip
"""Elementwise programs that together have every kind of lane operation and function."""


def suite() -> list[Case]:
    """Small cases that together use every unit."""
    draw = np.random.default_rng(2)
    products = [
        ((13, 70, 40), "2:8", Dataflow.OS, 1),
        ((40, 70, 21), "2:8", Dataflow.WS, 2),
        ((30, 40, 33), "dense", Dataflow.OS, 3),
        ((17, 20, 18), "dense", Dataflow.WS, 4),
        ((24, 64, 32), "1:4", Dataflow.WS, 6),
        ((24, 8, 64), "2:8", Dataflow.OS, 7),
        ((24, 8, 64), "1:8", Dataflow.OS, 8),
    ]
    cases = [
        random_case(MACHINE, size, Pattern.parse(pattern), dataflow, seed)
        for size, pattern, dataflow, seed in products
    ]
    constants = (0.1, 0.9, 5e-4)
    wild = wild_floats(draw, 384), wild_floats(draw, 384), wild_halves(draw, 384)
    mild = [draw.standard_normal(512).astype(np.float32) for _ in range(3)]
    both = (Mask(Pattern(2, 4)), Mask(Pattern(2, 4), across=16))
    momentum = Update(0, "sgd-momentum", constants)
    cases += [
        update_case("momentum", MACHINE, *wild, 192, momentum),
        update_case("sgd", MACHINE, *wild, 192, Update(0, "sgd", constants)),
        update_case(
            "masks", MACHINE, mild[0], mild[1], mild[2].astype(np.float16), 64, momentum, both
        ),
    ]
    rates = adamw_constants(1e-3, 0.9, 0.999, 1e-8, 0.01, 5)
    moments = mild[0][:320], mild[1][:320], mild[2][:320].astype(np.float16)
    cases.append(
        update_case(
            "adamw",
            MACHINE,
            *moments,
            160,
            Update(0, "adamw", rates),
            second=np.abs(mild[1][::-1][:320]),
        )
    )
    ties = np.round(draw.standard_normal(1024)).astype(np.float16)
    cases += [
        mask_case("ties", MACHINE, ties, 256, Mask(Pattern(3, 8))),
        mask_case("across", MACHINE, ties, 256, Mask(Pattern(3, 8), across=16)),
        *(case for case in elementwise_cases(MACHINE) if case.name.strip() in _VECTOR_OPS),
        *row_cases(MACHINE, 1)[::2],
        *pool_cases(MACHINE)[:1],
        *several_results_cases(MACHINE),
        random_case(MACHINE, (20, 16, 20), DENSE, Dataflow.OS, 3, "gelu"),
    ]
    memory = np.zeros(1 << 16, np.uint8)
    cases += [
        Case(
            f"tokens {seed}",
            random_program(np.random.default_rng(seed), 60),
            memory,
            {"memory": 0},
            None,
        )
        for seed in range(4)
    ]
    return cases


def caught(case: Case, pauses: Pauses, found: object) -> bool:
    """Whether a run differs from engine or reference, hung, or broke the bus."""
    if not isinstance(found, RtlRun):
        return True
    result = compare(case, MACHINE, pauses, found, 0.0)
    if case.name.startswith("tokens"):  # racing values: only times count
        return result.cycle_difference != 0
    return not result.agrees


@pytest.mark.deep
def test_every_fault_in_the_verilog_is_caught(tmp_path: Path) -> None:
    cases = suite()
    numbers = range(len(MUTANTS) + 1)
    found = outcomes(
        MACHINE,
        cases * len(numbers),
        limit=LIMIT,
        change=lambda design: plant(design, MUTANTS, tmp_path),
        ports=[{"mutant": number} for number in numbers for _ in cases],
    )
    survivors: list[str] = []
    for number in numbers:
        runs = found[number * len(cases) : (number + 1) * len(cases)]
        noticed = [
            case.name for case, run in zip(cases, runs, strict=True) if caught(case, IDEAL, run)
        ]
        if number == 0:
            assert not noticed
        elif not noticed:
            survivors.append(str(MUTANTS[number - 1]))
    assert len(MUTANTS) >= 25
    assert len(ENGINE_FAULTS) >= 10
    assert not survivors


def mutated(module: types.ModuleType, old: str, new: str) -> types.ModuleType:
    """A module like ``module`` with one change in its source."""
    path = Path(str(module.__file__))
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (text.count(old), old)
    other = types.ModuleType(f"{module.__name__}_mutant")
    sys.modules[other.__name__] = other  # dataclasses look their module up
    exec(compile(text.replace(old, new), str(path), "exec"), other.__dict__)
    return other


ENGINE = ("cause", "body", "state", "stepping", "loops", "exact")
"""The engine's modules, each after those that it imports."""


def mutated_engine(old: str, new: str) -> types.ModuleType:
    """The engine with one change in the source of one of its modules."""
    folder = Path(str(engine_module.__file__)).parent
    sources = {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in ENGINE}
    assert sum(text.count(old) for text in sources.values()) == 1, old
    for name, text in sources.items():
        alias = f"engine_mutant.{name}"
        module = sys.modules[alias] = types.ModuleType(alias)
        changed = text.replace(old, new).replace("weft.sim.engine.", "engine_mutant.")
        exec(compile(changed, alias, "exec"), module.__dict__)
    return sys.modules["engine_mutant.exact"]


ENGINE_FAULTS = [
    ("if time > start:", "if time < start:"),
    ("state.free[queue] = start + step.occupy", "state.free[queue] = start + step.finish"),
    ("finish = start + step.finish\n", "finish = start + step.occupy\n"),
    ("state.last[queue] = max(state.last[queue], finish)", "state.last[queue] = finish - 1"),
    ("move(block, state, jumps * (base - old_base))", "move(block, state, jumps)"),
    (
        "jumps = min(jumps, _periods_until_change(record_a, record_b)) if same else 0",
        "jumps = jumps if same else 0",
    ),
    ("(b[winner] - late - 1) // gain", "(b[winner] - late - 1) // gain + 1"),
    ("tokens[index] = (time + times * growth[position], blame)", "tokens[index] = (time, blame)"),
    ("state.free[queue] += times * growth[index]", "state.free[queue] += growth[index]"),
    ("state.tokens[channel] = [(t + cycles, blame) for t, blame in state.tokens[channel]]", "pass"),
    ("for _ in range(remaining):", "for _ in range(remaining - 1):"),
    ("+ blame] += start - free", "+ blame] += start"),
]
SEARCH = settings(max_examples=2000, deadline=None, derandomize=True, phases=(Phase.generate,))


def differs(module: types.ModuleType, program: Program) -> bool:
    plain = step(program, TINY)
    try:
        timing = module.Engine(TINY).run(program)
    except (IndexError, ValueError):
        return True
    stalls = [
        sum(sum(segment.stall_cycles[queue]) for segment in timing.segments)
        for queue in range(len(plain.stall))
    ]
    return timing.cycles != max(plain.finishes) or stalls != plain.stall


@pytest.mark.deep
@pytest.mark.parametrize(("old", "new"), ENGINE_FAULTS, ids=lambda text: text[:30])
def test_every_fault_in_the_engine_is_caught(old: str, new: str) -> None:
    module = mutated_engine(old, new)
    try:
        find(pipelines(most=600), lambda program: differs(module, program), settings=SEARCH)
    except NoSuchExample:
        find(programs(most=40), lambda program: differs(module, program), settings=SEARCH)


TIMING_FAULTS = [
    (
        "pipeline = array.multiplier_stages + 2 * array.adder_stages + 7",
        "pipeline = array.multiplier_stages + 2 * array.adder_stages + 6",
    ),
    (
        "return PassTiming(issue + skew + drain + pipeline, larger(issue, drain), issue)",
        "return PassTiming(issue + skew + drain + pipeline, issue, issue)",
    ),
    (
        "return PassTiming(first, larger(stream, turn), stream)",
        "return PassTiming(first, stream, stream)",
    ),
    ("fill = array.rows * words", "fill = array.rows"),
    ("rounds * work.pattern.m + machine.sore", "rounds * work.pattern.n + machine.sore"),
    ("return Duration(moving, moving + latency)", "return Duration(moving, moving)"),
    (
        "return Duration(moving, moving + latency)",
        "return Duration(moving + write, moving + latency)",
    ),
    ("if write else memory.read_latency_cycles", "if write else memory.write_latency_cycles"),
    (
        "return sum(count * ceil_div(size, bytes_per_cycle) for count, size in work.runs)",
        "return ceil_div(work.bytes, bytes_per_cycle)",
    ),
    (
        "return Duration(cycles, cycles + machine.memory.write_latency_cycles)",
        "return Duration(cycles, cycles)",
    ),
    ("UPDATE_PASSES[work.optimizer])", "4)"),
]


def test_every_fault_in_the_closed_forms_is_caught() -> None:
    cases = suite()
    runs = outcomes(MACHINE, cases, limit=LIMIT)
    for old, new in TIMING_FAULTS:
        module = mutated(timing_module, old, new)

        def wrong(case: Case, run: object, module: types.ModuleType = module) -> bool:
            assert isinstance(run, RtlRun)

            def length(instruction: Instruction) -> tuple[int, int]:
                time = module.duration(instruction, MACHINE)
                return time.occupy, time.finish

            return any(
                (span.free - span.start, span.finish - span.start) != length(instruction)
                for span, instruction in zip(run.spans, expand(case.program.body), strict=True)
            )

        assert any(wrong(case, run) for case, run in zip(cases, runs, strict=True)), old
