"""How long an instruction takes, in cycles: the one place that says so.

Closed forms of the micro-architecture; the Verilog and the reference agree with them cycle by
cycle. ``occupy`` is how long the queue is held, ``finish`` when its tokens are given, both from
the instruction's start.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.dram import load_dram
from weft.sim.lanes.programs import OPTIMIZERS, compile_program
from weft.sim.machine import Array, Machine
from weft.sim.program import (
    Dataflow,
    Instruction,
    Matmul,
    Queue,
    Reduce,
    Transfer,
    Update,
    Vector,
)
from weft.sim.program.strips import ceil_div, vector_cycles

__all__ = [
    "SYNC_CYCLES",
    "UPDATE_PASSES",
    "Duration",
    "PassTiming",
    "ceil_div",
    "duration",
    "kept_depth",
    "matmul_cycles",
    "matmul_issue_cycles",
    "matmul_passes",
    "pass_timing",
    "transfer_beats",
    "transfer_cycles",
]

SYNC_CYCLES = 1

UPDATE_PASSES = {name: compile_program(name).passes for name in OPTIMIZERS}
"""Lane operations per weight of every optimizer."""


def larger(a: int, b: int) -> int:
    """The maximum, written so that integer arrays pass through too."""
    return (a + b + abs(a - b)) // 2


@dataclass(frozen=True)
class Duration:
    """Cycles from an instruction's start."""

    occupy: int
    finish: int


@dataclass(frozen=True)
class PassTiming:
    """One pass of the array.

    ``first_cycles`` is one pass alone, ``next_cycles`` what each further one adds,
    ``issue_cycles`` the cycles of it in which every PE is given work.
    """

    first_cycles: int
    next_cycles: int
    issue_cycles: int


def kept_depth(work: Matmul) -> int:
    """Reduction steps of one output: dense length, or N per group."""
    return work.depth if work.pattern.is_dense else work.groups * work.pattern.n


def os_pass(array: Array, steps: int) -> PassTiming:
    """Output-stationary pass: ``steps`` reduction steps for rows x (cols interleave) outputs.

    Issue, row and column skew, then registers shift out rows x interleave words per column
    while the next pass runs. Each word goes through an adder to its place. The last 7 cycles:
    start, feeder, buffer, element, capture, drain, done (rtl/hardware/stce_unit.v).
    """
    drain = array.rows * array.interleave
    issue = steps * array.interleave
    skew = array.rows - 1 + array.cols - 1
    pipeline = array.multiplier_stages + 2 * array.adder_stages + 7
    return PassTiming(issue + skew + drain + pipeline, larger(issue, drain), issue)


def ws_pass(array: Array, vectors: int, words: int, *, interleaved: bool) -> PassTiming:
    """Weight-stationary pass: ``vectors`` left vectors against ``words`` kept weights per PE.

    Vectors come in blocks of interleave, each passing a row once per kept weight. Each row adds
    its ``words`` products to the partial sum before it moves on, so rows start far apart. A
    second weight bank is filled while a pass streams. The next pass may read what this one
    writes, so it streams only when the first sum has left the array and its weights are in
    (rtl/hardware/stce_unit.v). Without interleave mapping the adds of one vector leave no slot to
    others: each waits for the adder.
    """
    fill = array.rows * words
    if interleaved:
        apart = array.interleave
        stream = ceil_div(vectors, array.interleave) * array.interleave * words
    else:
        apart = array.adder_stages
        stream = vectors * ((words - 1) * apart + 1)
    skew = (array.rows - 1) * ((words - 1) * apart + array.adder_stages)
    pipeline = array.multiplier_stages + array.adder_stages
    turn = fill + skew + (words - 1) * apart + pipeline + 4
    first = fill + stream + skew + array.cols - 1 + pipeline + 5
    return PassTiming(first, larger(stream, turn), stream)


def matmul_passes(array: Array, work: Matmul) -> int:
    """Array passes of one instruction; edges are padded to whole passes."""
    if work.dataflow is Dataflow.OS:
        width = array.cols * (array.interleave if work.interleaved else 1)
        return work.batch * ceil_div(work.rows, array.rows) * ceil_div(work.columns, width)
    groups = work.depth if work.pattern.is_dense else work.groups
    return work.batch * ceil_div(groups, array.rows) * ceil_div(work.columns, array.cols)


def pass_timing(array: Array, work: Matmul) -> PassTiming:
    """Timing of the passes of ``work``."""
    if work.dataflow is Dataflow.OS:
        return os_pass(array, kept_depth(work))
    words = 1 if work.pattern.is_dense else work.pattern.n
    return ws_pass(array, work.rows, words, interleaved=work.interleaved)


def matmul_cycles(array: Array, work: Matmul) -> int:
    """Cycles of one ``matmul`` from start to its last output in the bank."""
    passes = matmul_passes(array, work)
    timing = pass_timing(array, work)
    return (passes - 1) * timing.next_cycles + timing.first_cycles


def matmul_issue_cycles(array: Array, work: Matmul) -> int:
    """The part of ``matmul_cycles`` in which PEs are given work; the rest is fill and drain."""
    passes = matmul_passes(array, work)
    return passes * pass_timing(array, work).issue_cycles


def transfer_beats(work: Transfer, bytes_per_cycle: int) -> int:
    """Bus beats of a transfer: every run starts on a beat of its own."""
    return sum(count * ceil_div(size, bytes_per_cycle) for count, size in work.runs)


def transfer_cycles(work: Transfer, machine: Machine, *, write: bool) -> int:
    """Cycles in which the port moves a transfer: its beats, or what the DRAM needs if longer."""
    memory = machine.memory
    ports = memory.read_bytes_per_cycle + memory.write_bytes_per_cycle
    port = memory.write_bytes_per_cycle if write else memory.read_bytes_per_cycle
    beats = transfer_beats(work, port)
    if not memory.dram:
        return beats
    needed = load_dram(memory.dram).cycles(
        work.runs, write=write, machine_hz=machine.clock_hz, port_share=port / ports
    )
    return max(beats, needed)


def duration(instruction: Instruction, machine: Machine) -> Duration:
    """Occupy and finish cycles of one instruction on ``machine``."""
    work = instruction.work
    match work:
        case Transfer():
            write = instruction.queue is not Queue.LOAD
            moving = transfer_cycles(work, machine, write=write)
            memory = machine.memory
            latency = memory.write_latency_cycles if write else memory.read_latency_cycles
            return Duration(moving, moving + latency)
        case Matmul():
            cycles = matmul_cycles(machine.array, work)
        case Reduce():
            rounds = ceil_div(work.groups, machine.sore.lanes)
            cycles = rounds * work.pattern.m + machine.sore.pipeline_cycles
        case Update():
            step = Vector(work.elements, UPDATE_PASSES[work.optimizer])
            cycles = vector_cycles(step, machine.wuve) + machine.wuve.pipeline_cycles
        case Vector():
            cycles = vector_cycles(work, machine.wuve) + machine.wuve.pipeline_cycles
        case _:
            cycles = SYNC_CYCLES
            if instruction.queue is Queue.STORE:
                return Duration(cycles, cycles + machine.memory.write_latency_cycles)
    return Duration(cycles, cycles)
