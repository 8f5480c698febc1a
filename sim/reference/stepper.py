"""Step a Program cycle by cycle, with values: the specification of the machine.

In every cycle, first what finishes now takes effect (its values, then its tokens), then every queue
whose head has its tokens and whose unit is free starts it. An instruction works on values at its
finish; between start and finish nobody else may touch them, which is what the tokens are for.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from weft.sim.machine import Machine
from weft.sim.program import (
    Channel,
    Matmul,
    Program,
    Queue,
    Reduce,
    Sync,
    Transfer,
    Update,
    Vector,
)
from weft.sim.program.timing import Duration, duration
from weft.sim.reference.banks import Bytes, Store
from weft.sim.reference.bind import Bound, bind
from weft.sim.reference.product import multiply
from weft.sim.reference.reduce import reduce
from weft.sim.reference.update import update
from weft.sim.reference.vector import apply_vector

__all__ = ["DeadlockError", "Run", "Span", "run_program"]


class DeadlockError(RuntimeError):
    """Nothing is under way and no queue can start its head."""


@dataclass(frozen=True)
class Span:
    """When one instruction started, freed its queue and finished, in cycles."""

    queue: Queue
    start: int
    free: int
    finish: int


@dataclass(frozen=True)
class Run:
    """What a program did: ``spans`` in program order, its cycles, and memory after it."""

    cycles: int
    spans: tuple[Span, ...]
    memory: Bytes


def apply(store: Store, bound: Bound) -> None:
    """The effect of one instruction on values."""
    work = bound.instruction.work
    match work:
        case Transfer():
            if bound.instruction.queue is Queue.LOAD:
                store.load(bound, work)
            else:
                store.store(bound, work)
        case Matmul():
            multiply(store, bound, work)
        case Reduce():
            reduce(store, bound, work, "vector_half_out" if bound.from_wuve else "mask_in")
        case Update():
            update(store, bound, work)
        case Vector():
            apply_vector(store, bound, work)
        case Sync():
            pass


def run_program(
    program: Program,
    machine: Machine,
    memory: Bytes | None = None,
    tensors: Mapping[str, int] | None = None,
    durations: Mapping[int, Duration] | None = None,
) -> Run:
    """Run ``program``.

    Args:
        program: a program that ``check_program`` accepts.
        machine: what it runs on.
        memory: bytes before the run; without it no values are worked out, only times.
        tensors: where in memory each tensor begins.
        durations: for instructions by their place in program order, durations that replace the
            closed forms (a memory that pauses at random).

    Raises:
        DeadlockError: an instruction waits for a token that never comes.
        PlaceError: values outside of a bank or of memory.
    """
    instructions = bind(program)
    store = None if memory is None else Store(machine, memory.copy(), dict(tensors or {}))
    queues: dict[Queue, deque[int]] = {queue: deque() for queue in Queue}
    for place, bound in enumerate(instructions):
        queues[bound.instruction.queue].append(place)
    waiting = dict.fromkeys(Channel, 0)
    for channel, count in program.tokens:
        waiting[channel] += count
    free = dict.fromkeys(Queue, 0)
    spans: list[Span | None] = [None] * len(instructions)
    finishing: list[tuple[int, int]] = []  # (cycle, place)
    cycle = last = 0
    while finishing or any(queues.values()):
        while finishing and finishing[0][0] == cycle:
            _, place = heapq.heappop(finishing)
            if store is not None:
                apply(store, instructions[place])
            for channel in instructions[place].instruction.signals:
                waiting[channel] += 1
        started = False
        for queue in Queue:
            if not queues[queue] or free[queue] > cycle:
                continue
            place = queues[queue][0]
            instruction = instructions[place].instruction
            if any(waiting[channel] == 0 for channel in instruction.waits):
                continue
            queues[queue].popleft()
            for channel in instruction.waits:
                waiting[channel] -= 1
            time = (durations or {}).get(place) or duration(instruction, machine)
            free[queue] = cycle + time.occupy
            finish = cycle + time.finish
            heapq.heappush(finishing, (finish, place))
            spans[place] = Span(queue, cycle, free[queue], finish)
            last = max(last, finish, free[queue])
            started = True
        moving = started or finishing or any(time > cycle for time in free.values())
        if any(queues.values()) and not moving:
            raise DeadlockError(f"cycle {cycle}: no queue can start its next instruction")
        cycle += 1
    return Run(
        last,
        tuple(span for span in spans if span is not None),
        store.memory if store is not None else np.zeros(0, np.uint8),
    )
