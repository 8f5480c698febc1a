"""The machine's state between two instructions: when queues are free and when tokens arrive."""

from __future__ import annotations

from dataclasses import dataclass, field

from weft.sim.engine.body import Block, Step
from weft.sim.engine.cause import NO_BLAME, Cause
from weft.sim.program import Channel, Program, Queue

__all__ = ["Effect", "Record", "State", "Token", "grow", "key_of", "move", "start_of", "vector_of"]

Token = tuple[int, int]
"""When it arrives, and the cause to blame when someone waits for it."""


@dataclass(frozen=True)
class Jump:
    """A stretch of an inner loop that was jumped over."""

    periods: int
    length: int


@dataclass(frozen=True)
class Choice:
    """A maximum that was taken, and who contended for it."""

    contenders: tuple[int, ...]


Record = list[Choice | Jump]
"""Every maximum of a stretch, in order; what a drift compares."""

Seen = tuple[Step, int, int, int]
"""A step on the timeline: its start, whom it waited for, and how long."""


@dataclass
class State:
    """When queues are free, when their last result is done, and the tokens under way.

    ``record`` and ``seen`` are None unless somebody wants to know.
    """

    free: list[int]
    last: list[int]
    tokens: list[list[Token]]
    stalls: list[int]
    late: int = 0  # how many of the next loads come late because another unit held the queue
    stepped: int = 0
    record: Record | None = None
    seen: list[Seen] | None = field(default=None)


def start_of(program: Program) -> State:
    tokens: list[list[Token]] = [[] for _ in Channel]
    for channel, count in program.tokens:
        tokens[channel] = [(0, NO_BLAME)] * count
    queues = len(Queue)
    return State([0] * queues, [0] * queues, tokens, [0] * (queues * len(Cause)))


@dataclass(frozen=True)
class Effect:
    """What a block does to a state, times relative to the state's base."""

    times: tuple[int, ...]
    tokens: tuple[tuple[Token, ...], ...]
    stalls: tuple[int, ...]
    late: int

    @classmethod
    def between(cls, block: Block, state: State, base: int) -> Effect:
        times = [state.free[queue] - base for queue in block.queues]
        times += [state.last[queue] - base for queue in block.queues]
        tokens = tuple(
            tuple((time - base, blame) for time, blame in state.tokens[channel])
            for channel in block.channels
        )
        return cls(tuple(times), tokens, tuple(state.stalls), state.late)

    def apply(self, block: Block, state: State, base: int) -> None:
        half = len(block.queues)
        for index, queue in enumerate(block.queues):
            state.free[queue] = self.times[index] + base
            state.last[queue] = self.times[half + index] + base
        for channel, tokens in zip(block.channels, self.tokens, strict=True):
            state.tokens[channel] = [(time + base, blame) for time, blame in tokens]
        state.stalls = [a + b for a, b in zip(state.stalls, self.stalls, strict=True)]
        state.late = self.late


def key_of(block: Block, state: State) -> tuple[int, tuple[int, ...]]:
    """The touched state relative to its base, as one flat tuple with blames."""
    base = state.free[block.queues[0]]
    flat: list[int] = [state.late]
    for queue in block.queues:
        flat.append(state.free[queue] - base)
        flat.append(state.last[queue] - base)
    for channel in block.channels:
        tokens = state.tokens[channel]
        flat.append(len(tokens))
        for time, blame in tokens:
            flat.append(time - base)
            flat.append(blame)
    return base, tuple(flat)


def move(block: Block, state: State, cycles: int) -> None:
    for queue in block.queues:
        state.free[queue] += cycles
        state.last[queue] += cycles
    for channel in block.channels:
        state.tokens[channel] = [(t + cycles, blame) for t, blame in state.tokens[channel]]


def vector_of(block: Block, state: State) -> tuple[list[int], list[int]]:
    """Times and blames of the touched state, in a fixed order."""
    times = [state.free[queue] for queue in block.queues]
    times += [state.last[queue] for queue in block.queues]
    blames: list[int] = [state.late]
    for channel in block.channels:
        for time, blame in state.tokens[channel]:
            times.append(time)
            blames.append(blame)
    return times, blames


def grow(block: Block, state: State, growth: list[int], times: int) -> None:
    half = len(block.queues)
    for index, queue in enumerate(block.queues):
        state.free[queue] += times * growth[index]
        state.last[queue] += times * growth[half + index]
    position = 2 * half
    for channel in block.channels:
        tokens = state.tokens[channel]
        for index, (time, blame) in enumerate(tokens):
            tokens[index] = (time + times * growth[position], blame)
            position += 1
