"""What a Program leaves implicit: the address of every transfer and the bank of every buffer.

Banks follow from tokens. A token stands for a bank: whoever takes one from a channel works on that
bank of the channel's buffer until it takes the next, and gives that bank on with its own tokens.
The tokens that a channel starts with stand for banks 0, 1, ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from weft.sim.program import Channel, Instruction, Loop, Node, Program, Queue, Transfer

__all__ = ["BUFFER_OF_CHANNEL", "Bound", "bind"]

BUFFER_OF_CHANNEL: dict[Channel, str] = {
    Channel.LEFT_FULL: "left",
    Channel.LEFT_FREE: "left",
    Channel.RIGHT_FULL: "right",
    Channel.RIGHT_FREE: "right",
    Channel.OUT_FULL: "output",
    Channel.OUT_FREE: "output",
    Channel.OUT_TO_WUVE: "output",
    Channel.OUT_FROM_WUVE: "output",
    Channel.VIN_FULL: "vector_in",
    Channel.VIN_FREE: "vector_in",
    Channel.VOUT_FULL: "vector_out",
    Channel.VOUT_FREE: "vector_out",
    Channel.VOUT_TO_SORE: "vector_out",
    Channel.VOUT_FROM_SORE: "vector_out",
    Channel.MASK_IN_FULL: "mask_in",
    Channel.MASK_IN_FREE: "mask_in",
    Channel.MASK_OUT_FULL: "mask_out",
    Channel.MASK_OUT_FREE: "mask_out",
}
"""The buffer whose banks a channel's tokens stand for; STORED has none."""


@dataclass(frozen=True)
class Bound:
    """An instruction of the unrolled program.

    ``address`` is the byte offset of a transfer's first run in its tensor; ``banks`` the bank that
    its queue works on, per buffer; ``source`` the buffer of SORE's last input bank.
    """

    instruction: Instruction
    address: int
    banks: dict[str, int]
    source: str = "mask_in"

    @property
    def from_wuve(self) -> bool:
        """Whether SORE reads what WUVE has updated, not what was loaded for it."""
        return self.source == "vector_out"


def _unroll(body: tuple[Node, ...], at: tuple[int, ...]) -> Iterator[tuple[Instruction, int]]:
    for node in body:
        if isinstance(node, Loop):
            for iteration in range(node.count):
                yield from _unroll(node.body, (*at, iteration))
        else:
            yield node, _address(node, at)


def _address(instruction: Instruction, at: tuple[int, ...]) -> int:
    work = instruction.work
    if not isinstance(work, Transfer):
        return 0
    # A transfer that names fewer strides than it has loops stays where it is in the inner ones.
    moves = zip(at, work.loop_strides, strict=False)
    return work.base + sum(iteration * stride for iteration, stride in moves)


def bind(program: Program) -> list[Bound]:
    """All instructions in program order with addresses and banks."""
    tokens: dict[Channel, deque[int]] = {channel: deque() for channel in Channel}
    for channel, count in program.tokens:
        tokens[channel].extend(range(count))
    banks: dict[Queue, dict[str, int]] = {queue: {} for queue in Queue}
    bound: list[Bound] = []
    source = "mask_in"
    for instruction, address in _unroll(program.body, ()):
        own = banks[instruction.queue]
        for channel in instruction.waits:
            bank = tokens[channel].popleft()
            if channel in BUFFER_OF_CHANNEL:
                own[BUFFER_OF_CHANNEL[channel]] = bank
            if channel in (Channel.VOUT_TO_SORE, Channel.MASK_IN_FULL):
                source = BUFFER_OF_CHANNEL[channel]
        for channel in instruction.signals:
            tokens[channel].append(own.get(BUFFER_OF_CHANNEL.get(channel, ""), 0))
        bound.append(Bound(instruction, address, dict(own), source))
    return bound
