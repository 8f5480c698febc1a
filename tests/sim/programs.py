"""Random programs for differential tests, and the plainest stepper there can be."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import strategies as st

from weft.sim.machine import Array, Buffers, Machine, Memory, Sore, Wuve
from weft.sim.pattern import Pattern
from weft.sim.program import (
    CHANNEL_ENDS,
    Channel,
    Instruction,
    Loop,
    Node,
    Program,
    Queue,
    Reduce,
    Segment,
    Sync,
    Transfer,
    Vector,
    Work,
    expand,
)
from weft.sim.program.timing import duration

TINY = Machine(
    "tiny",
    "",
    "fpga-vcu1525",
    1e8,
    Array(2, 2, 2, 1, 2),
    Buffers(4096, 4096, 4096, 4096, 4096, 2),
    Memory(4, 4, 7, 3),
    Sore(2, 1),
    Wuve(2, 4, 3),
)


@dataclass(frozen=True)
class Stepped:
    starts: list[int]
    finishes: list[int]
    stall: list[int]  # per queue


def step(program: Program, machine: Machine) -> Stepped:
    """Instruction by instruction, as sim/program/instructions.py words it."""
    tokens = {channel: deque[int]() for channel in Channel}
    for channel, count in program.tokens:
        tokens[channel].extend([0] * count)
    free = [0] * len(Queue)
    stall = [0] * len(Queue)
    starts: list[int] = []
    finishes: list[int] = []
    for instruction in expand(program.body):
        arrivals = [tokens[channel].popleft() for channel in instruction.waits]
        start = max([free[instruction.queue], *arrivals])
        time = duration(instruction, machine)
        stall[instruction.queue] += start - free[instruction.queue]
        free[instruction.queue] = start + time.occupy
        for channel in instruction.signals:
            tokens[channel].append(start + time.finish)
        starts.append(start)
        finishes.append(start + time.finish)
    return Stepped(starts, finishes, stall)


def _work(queue: Queue, size: int) -> Work:
    if queue in (Queue.LOAD, Queue.STORE):
        return Transfer(((1, size),), "left")
    if queue is Queue.SORE:
        return Reduce(size, Pattern(1, 2))
    return Vector(size, 1) if size % 5 else Sync()


@st.composite
def _instruction(draw: st.DrawFn, held: dict[Channel, int]) -> Instruction:
    queue = draw(st.sampled_from(list(Queue)))
    may_wait = [c for c in Channel if CHANNEL_ENDS[c][1] is queue and held[c] > 0]
    may_signal = [c for c in Channel if CHANNEL_ENDS[c][0] is queue and held[c] < 5]
    waits = draw(st.lists(st.sampled_from(may_wait), max_size=3, unique=True)) if may_wait else []
    signals = (
        draw(st.lists(st.sampled_from(may_signal), max_size=2, unique=True)) if may_signal else []
    )
    for channel in waits:
        held[channel] -= 1
    for channel in signals:
        held[channel] += 1
    return Instruction(queue, _work(queue, draw(st.integers(1, 400))), tuple(waits), tuple(signals))


def _repairs(held: dict[Channel, int], goal: dict[Channel, int]) -> list[Instruction]:
    """Instructions that bring the tokens back to what they were."""
    repairs: list[Instruction] = []
    for channel, count in goal.items():
        producer, consumer = CHANNEL_ENDS[channel]
        while held[channel] < count:
            repairs.append(Instruction(producer, _work(producer, 3), (), (channel,)))
            held[channel] += 1
        while held[channel] > count:
            repairs.append(Instruction(consumer, _work(consumer, 4), (channel,), ()))
            held[channel] -= 1
    return repairs


@st.composite
def _body(draw: st.DrawFn, held: dict[Channel, int], depth: int, most: int) -> tuple[Node, ...]:
    nodes: list[Node] = []
    for _ in range(draw(st.integers(1, 4))):
        if depth and draw(st.booleans()):
            count = draw(st.integers(1, most))
            goal = dict(held)
            inner = list(draw(_body(held, depth - 1, max(1, most // 8))))
            nodes.append(Loop(count, (*inner, *_repairs(held, goal))))
        else:
            nodes.append(draw(_instruction(held)))
    return tuple(nodes)


@st.composite
def programs(draw: st.DrawFn, most: int = 120) -> Program:
    """Well-formed programs: any instruction, any token that is there, loops in loops."""
    start = {channel: draw(st.integers(0, 2)) for channel in Channel}
    held = dict(start)
    segments = tuple(
        Segment(f"s{index}", draw(_body(held, 2, most))) for index in range(draw(st.integers(1, 3)))
    )
    return Program(segments, tuple(start.items()))


@st.composite
def pipelines(draw: st.DrawFn, most: int = 3000) -> Program:
    """Tiled loops as a mapper emits them, with rates that drift against each other."""
    size = st.integers(1, 300)

    def load(full: Channel, free: Channel) -> Instruction:
        return Instruction(Queue.LOAD, _work(Queue.LOAD, draw(size)), (free,), (full,))

    inner: list[Node] = [
        load(Channel.LEFT_FULL, Channel.LEFT_FREE),
        Instruction(
            Queue.STCE,
            Vector(draw(size), 1),
            (Channel.LEFT_FULL,),
            (Channel.LEFT_FREE,),
        ),
    ]
    body: list[Node] = [
        Instruction(Queue.STCE, Sync(), (Channel.OUT_FREE,), ()),
        Loop(draw(st.integers(1, 60)), tuple(inner)),
        Instruction(Queue.STCE, Vector(draw(size), 1), (), (Channel.OUT_FULL,)),
        Instruction(
            Queue.STORE,
            _work(Queue.STORE, draw(size)),
            (Channel.OUT_FULL,),
            (Channel.OUT_FREE,),
        ),
    ]
    vector: list[Node] = [
        load(Channel.VIN_FULL, Channel.VIN_FREE),
        Instruction(
            Queue.WUVE,
            Vector(draw(size), 1),
            (Channel.VIN_FULL, Channel.VOUT_FREE),
            (Channel.VIN_FREE, Channel.VOUT_FULL),
        ),
        Instruction(
            Queue.STORE,
            _work(Queue.STORE, draw(size)),
            (Channel.VOUT_FULL,),
            (Channel.VOUT_FREE,),
        ),
    ]
    parts = draw(st.permutations([tuple(body), tuple(vector)]))
    banks = draw(st.integers(1, 4))
    free = (Channel.LEFT_FREE, Channel.OUT_FREE, Channel.VIN_FREE, Channel.VOUT_FREE)
    segments = tuple(
        Segment(f"s{i}", (Loop(draw(st.integers(1, most // (40 if len(part) == 4 else 1))), part),))
        for i, part in enumerate(parts)
    )
    return Program(segments, tuple((channel, banks) for channel in free))
