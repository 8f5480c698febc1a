"""Queues and tokens on ``sat_top``: any instructions, any tokens, started when the engine says."""

from __future__ import annotations

import numpy as np

from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import IDEAL, Pauses, simulate
from weft.sim.engine import Engine
from weft.sim.machine import load_machine
from weft.sim.pattern import DENSE, Pattern
from weft.sim.program import (
    CHANNEL_ENDS,
    Channel,
    Dataflow,
    Instruction,
    Matmul,
    Program,
    Queue,
    Reduce,
    Segment,
    Sync,
    Transfer,
    Update,
    Work,
    check_program,
)
from weft.sim.program.timing import Duration
from weft.sim.program.vector_work import vector_work
from weft.sim.reference.stepper import run_program

MACHINE = load_machine("sat-4x4")
MEMORY = 1 << 16


def random_work(queue: Queue, draw: np.random.Generator) -> Work:
    """Work of any length; values do not matter here, only that banks and memory hold them."""
    size = int(draw.integers(1, 300))
    if queue is not Queue.LOAD and draw.integers(4) == 0:
        return Sync()
    if queue in (Queue.LOAD, Queue.STORE):
        count = int(draw.integers(1, 6))
        runs = ((1, 7 * size),) if draw.integers(2) else ((count, size), (1, size // 2 + 1))
        buffer = "left" if queue is Queue.LOAD else "mask"
        base = int(draw.integers(0, MEMORY // 2)) // 16 * 16
        return Transfer(runs, buffer, "memory", base=base, run_stride=336)
    if queue is Queue.STCE:
        dataflow = Dataflow(int(draw.integers(2)))
        pattern = DENSE if draw.integers(2) else Pattern(2, 8)
        return Matmul(dataflow, size % 9 + 1, 16, size % 17 + 1, pattern, pattern.groups(16))
    if queue is Queue.SORE:
        return Reduce(size % 60 + 1, Pattern(int(draw.integers(1, 4)), 4))
    if draw.integers(2):
        return Update(size % 100 + 1, "sgd-momentum", (0.1, 0.9, 0.0))
    op = ("copy", "sqrt", "exponential", "sigmoid")[int(draw.integers(4))]
    return vector_work(op, size, MACHINE.wuve)


def random_program(draw: np.random.Generator, length: int) -> Program:
    """Instructions in any queue that wait for tokens that are there, and leave some for others."""
    tokens = {channel: int(draw.integers(0, 3)) for channel in Channel}
    held = dict(tokens)
    instructions: list[Instruction] = []
    for _ in range(length):
        queue = Queue(int(draw.integers(len(Queue))))
        waits: list[Channel] = []
        signals: list[Channel] = []
        for channel, (producer, consumer) in CHANNEL_ENDS.items():
            if consumer is queue and held[channel] and draw.integers(3):
                waits.append(channel)
            if producer is queue and held[channel] < 5 and draw.integers(2):
                signals.append(channel)
        for channel in waits:
            held[channel] -= 1
        for channel in signals:
            held[channel] += 1
        work = random_work(queue, draw)
        instructions.append(Instruction(queue, work, tuple(waits), tuple(signals)))
    program = Program((Segment("random", tuple(instructions)),), tuple(tokens.items()))
    check_program(program)
    return program


def test_random_programs_run_as_the_engine_says() -> None:
    draw = np.random.default_rng(11)
    memory = np.zeros(MEMORY, np.uint8)
    cases = [
        Case(f"random {index}", random_program(draw, 60), memory, {"memory": 0}, None)
        for index in range(120)
    ]
    pauses = [IDEAL if index % 3 else Pauses(80, 80, 80, 80, 80, index + 1) for index in range(120)]
    stalls = 0
    for case, pause, found in zip(cases, pauses, simulate(MACHINE, cases, pauses), strict=True):
        durations: dict[int, Duration] = {}
        if pause is not IDEAL:
            durations = {
                place: Duration(span.free - span.start, span.finish - span.start)
                for place, span in enumerate(found.spans)
                if span.queue in (Queue.LOAD, Queue.STORE)
            }
        reference = run_program(case.program, MACHINE, durations=durations)
        assert found.spans == reference.spans, case.name
        if pause is IDEAL:
            assert found.cycles == Engine(MACHINE).run(case.program).cycles
        ends = dict.fromkeys(Queue, 0)
        for span in found.spans:
            stalls += span.start - ends[span.queue]
            ends[span.queue] = span.free
    assert stalls > 1000
