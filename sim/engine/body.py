"""Bodies of loops and segments as the engine runs them: durations found, channels as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from weft.sim.engine.cause import cause_of
from weft.sim.program import Instruction, Loop, Node
from weft.sim.program.timing import Duration

__all__ = ["Block", "Cost", "Step", "compile_body", "unroll"]

Cost = Callable[[Instruction], Duration]


@dataclass(frozen=True)
class Step:
    """An instruction with its durations looked up."""

    queue: int
    occupy: int
    finish: int
    waits: tuple[int, ...]
    causes: tuple[int, ...]
    signals: tuple[int, ...]
    instruction: Instruction


@dataclass(frozen=True)
class Block:
    """A compiled loop or segment body and what of the state it touches."""

    count: int
    nodes: tuple[Step | Block, ...]
    queues: tuple[int, ...]
    channels: tuple[int, ...]


def compile_body(count: int, body: tuple[Node, ...], cost: Cost) -> Block:
    """The loop of ``body`` run ``count`` times, each instruction's duration that of ``cost``."""
    nodes = tuple(
        compile_body(node.count, node.body, cost) if isinstance(node, Loop) else _step(node, cost)
        for node in body
    )
    queues: set[int] = set()
    channels: set[int] = set()
    for node in nodes:
        if isinstance(node, Block):
            queues.update(node.queues)
            channels.update(node.channels)
        else:
            queues.add(node.queue)
            channels.update(node.waits, node.signals)
    return Block(count, nodes, tuple(sorted(queues)), tuple(sorted(channels)))


def _step(instruction: Instruction, cost: Cost) -> Step:
    time = cost(instruction)
    return Step(
        int(instruction.queue),
        time.occupy,
        time.finish,
        tuple(int(channel) for channel in instruction.waits),
        tuple(int(cause_of(channel)) for channel in instruction.waits),
        tuple(int(channel) for channel in instruction.signals),
        instruction,
    )


def unroll(nodes: tuple[Step | Block, ...]) -> Iterator[Step]:
    """All steps in order; only for windows."""
    for node in nodes:
        if isinstance(node, Block):
            for _ in range(node.count):
                yield from unroll(node.nodes)
        else:
            yield node
