"""Programs of one vector op each: every lane program, wherever its rows may lie."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.stream import vector_case
from weft.sim.lanes import Emit, Over
from weft.sim.lanes.programs import (
    ELEMENTWISE,
    PLACES,
    PROGRAMS,
    ROWS,
    SEVERAL,
    compile_program,
)
from weft.sim.machine import Machine
from weft.sim.program import Channel, Instruction, Node, Queue, Transfer, Vector, Window
from weft.sim.program.strips import strips_of
from weft.sim.program.vector_work import vector_work

Halves = NDArray[np.float16]


def halves(seed: int, count: int, wild: bool = False) -> Halves:
    """Numbers of many sizes, or any bits at all."""
    draw = np.random.default_rng(seed)
    if wild:
        return draw.integers(0, 1 << 16, count, dtype=np.uint16).view(np.float16)
    return (draw.standard_normal(count) * np.exp2(draw.uniform(-6, 4, count))).astype(np.float16)


def case_of(
    machine: Machine, work: Vector, lines: int, seed: int, *, wild: bool = False, count: int = 1
) -> Case:
    """Random operands and words for ``work`` on ``lines`` rounds."""
    formula, lanes = PROGRAMS[work.op], machine.wuve.lanes
    operands = [halves(seed + i, lines * lanes * count, wild) for i in range(formula.inputs)]
    words = None
    if formula.words:
        strips = strips_of(work, machine.wuve)
        rows = strips.count if formula.by_strip else strips.width
        words = halves(seed + 9, 2 * rows * formula.words * lanes)
        if formula.by_strip:
            words = words[: words.size // 2].astype(np.float32)
        if work.op in PLACES:
            words = np.random.default_rng(seed).integers(0, lanes, words.size).astype(np.float32)
    return vector_case(f"{work.op} {work.over}", machine, operands, work, words, count)


def row_cases(machine: Machine, seed: int) -> list[Case]:
    """Every program of rows wherever its rows may lie, with ragged ends."""
    wuve, cases = machine.wuve, list[Case]()
    lanes, slots = wuve.lanes, wuve.slots
    for name, formula in (ROWS | PLACES).items():
        if "pool" in name or "sort" in name:
            continue
        for over in formula.overs:
            sizes = [(slots + 2, lanes + 1), (3, 5 * lanes)]
            if over is Over.APART:  # whole strips: what lies beyond the rows is not written
                sizes = [(slots * lanes, lanes + 1), (2 * slots * lanes, 3)]
            for rows, length in sizes:
                window = None
                # One number per row would leave lines between that nobody writes.
                if over is Over.APART and (length == 3 or not _leaves_in_place(name)):
                    strips = rows // (slots * lanes)
                    window = Window(strips, slots, length, length * slots, 1, slots)
                work = vector_work(name, rows * length, wuve, over=over, rows=rows, window=window)
                lines = strips_of(work, wuve).rounds
                seed += 10
                cases.append(case_of(machine, work, lines, seed))
    return cases


def _leaves_in_place(name: str) -> bool:
    phases = compile_program(name, Over.APART).phases
    return any(op.emit is Emit.HALF for phase in phases if phase.sweep for op in phase.ops)


def pool_cases(machine: Machine) -> list[Case]:
    """A 3 x 3 window with stride 2 over 13 x 13 pixels, and the way back to every fourth pixel."""
    forth, back = Window(6, 6, 3, 26, 2, 1), Window(5, 5, 1, 6, 1, 1)
    jobs: list[tuple[str, tuple[float, ...], Window, int]] = [
        ("max_pool", (3.0, 13.0), forth, 169),
        ("avg_pool", (3.0, 13.0, 9.0), forth, 169),
        ("max_pool_places", (3.0, 13.0), forth, 169),
        ("max_pool_backward", (0.0, 8.0, 1.0, 6.0, 6.0, 2.0, 7.0, 0.0), back, 36),
    ]
    return [
        case_of(
            machine,
            vector_work(
                name, window.strips * window.outputs * window.width * machine.wuve.lanes,
                machine.wuve, constants, over=Over.LANES, window=window,
            ),
            lines,
            seed,
        )
        for seed, (name, constants, window, lines) in enumerate(jobs)
    ]  # fmt: skip


def several_results_cases(machine: Machine) -> list[Case]:
    """Programs with several results, which follow each other, and rows with a head beyond them."""
    wuve, cases = machine.wuve, list[Case]()
    lanes, slots = wuve.lanes, wuve.slots
    rounds = Window(3, slots - 1, 1, slots - 1, 1, 1)
    for seed, name in enumerate([*SEVERAL, "sort_step", "sort_move"]):
        lines = rounds.strips * rounds.outputs
        work = vector_work(name, lines * lanes, wuve, window=rounds)
        cases.append(case_of(machine, work, lines, 70 + 10 * seed))
    length = 5
    rows = Window(2, slots, length, (length + 3) * slots, 1, slots)
    for seed, name in enumerate(["largest", "smallest", "lookup", "one_hot", "scatter"]):
        constants = (2.0,) if name in ("largest", "smallest") else (float(length * slots),)
        work = vector_work(
            name, 2 * slots * lanes * length, wuve, constants,
            over=Over.APART, rows=2 * slots * lanes, window=rows,
        )  # fmt: skip
        operand = _with_heads(rows, slots * lanes, 80 + seed)
        cases.append(vector_case(f"{name} in windows", machine, [operand], work))
    return [*cases, numbered_then_random_case(machine)]


def numbered_then_random_case(machine: Machine) -> Case:
    """Numbers of the lanes are no random ones: those that come after are as if there were none."""
    wuve = machine.wuve
    count = 20 * wuve.lanes
    first = vector_work("argmax", count, wuve, over=Over.ALL, rows=1)
    case = case_of(machine, first, 20, 5)
    size = 2 * count
    drawn: list[Node] = [
        Instruction(
            Queue.WUVE, vector_work("uniform", count, wuve), (Channel.VOUT_FREE,),
            (Channel.VOUT_FULL,),
        ),
        Instruction(
            Queue.STORE, Transfer(((1, size),), "vector_half", "operands"), (Channel.VOUT_FULL,),
            (Channel.VOUT_FREE,),
        ),
    ]  # fmt: skip
    (segment,) = case.program.segments
    whole = replace(segment, body=(*segment.body, *drawn))
    program = replace(case.program, segments=(whole,))
    return replace(case, name="argmax, uniform", program=program)


def _with_heads(rows: Window, strip: int, seed: int) -> Halves:
    """Rows apart whose heads ask for places that there are; some elements are equal."""
    draw = np.random.default_rng(seed)
    lines = np.round(halves(seed, rows.strips * (rows.width + 3) * strip))
    lines = lines.reshape(rows.strips, rows.width + 3, strip)
    lines[:, -3] = 0
    lines[:, -2] = draw.integers(0, rows.width, (rows.strips, strip))
    return lines


def elementwise_cases(machine: Machine) -> list[Case]:
    """Every elementwise program: any bits at all in two instructions, and three elements."""
    wuve, cases = machine.wuve, list[Case]()
    for seed, name in enumerate(ELEMENTWISE):
        for wild, elements, count in ((True, 38 * wuve.lanes, 2), (False, 3, 1)):
            lines = -(-elements // wuve.lanes)
            work = vector_work(name, elements, wuve)
            cases.append(case_of(machine, work, lines, 100 * seed, wild=wild, count=count))
    return cases
