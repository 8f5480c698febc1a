"""The Program: loops of tile instructions, the one contract that every executor obeys.

The machine has five in-order queues. Each takes its own instructions from the Program in program
order, one at a time. An instruction starts when its queue is free and one token waits in each
channel it ``waits`` for; it holds its queue for ``occupy`` cycles and puts one token into each
channel it ``signals`` after ``finish`` cycles (finish >= occupy: a load's data arrive a memory
latency after its last address left). A channel is a FIFO with one producing and one consuming
queue, so what happens is fixed by the Program alone, not by any arbiter.

Buffers are banked and used in turn: the n-th fill of a buffer uses bank n modulo its depth, and
"full" and "free" channels carry the banks' state. A loop's body leaves the number of tokens in
every channel as it found it.

Durations are no part of the Program: they follow from an instruction's ``work`` and the machine
(``weft.sim.program.timing``), for the engine, the reference and the Verilog alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from weft.sim.lanes import Over
from weft.sim.pattern import DENSE, Pattern

__all__ = [
    "CHANNEL_ENDS",
    "Channel",
    "Dataflow",
    "Instruction",
    "Loop",
    "Matmul",
    "Node",
    "Program",
    "ProgramError",
    "Queue",
    "Reduce",
    "Segment",
    "Sync",
    "Transfer",
    "Update",
    "Vector",
    "Window",
    "Work",
    "check_program",
    "count_instructions",
    "expand",
]


class ProgramError(ValueError):
    """A program that no machine can run: unbalanced loop, starving wait, shared channel end."""


class Queue(IntEnum):
    """The in-order units of the machine."""

    LOAD = 0
    STORE = 1
    STCE = 2
    SORE = 3
    WUVE = 4


class Dataflow(IntEnum):
    """How the STCE holds a tile: outputs stay (OS) or the compressed right operand stays (WS)."""

    OS = 0
    WS = 1


class Channel(IntEnum):
    """Token FIFOs between queues. A buffer's ``FULL`` runs forwards, its ``FREE`` backwards.

    LEFT, RIGHT: operand banks of the STCE. OUT: its FP32 output banks. VIN, VOUT: WUVE input and
    output banks. MASK_IN, MASK_OUT: SORE input and output banks.
    """

    LEFT_FULL = 0
    LEFT_FREE = 1
    RIGHT_FULL = 2
    RIGHT_FREE = 3
    OUT_FULL = 4  # STCE -> STORE
    OUT_FREE = 5  # STORE -> STCE
    OUT_TO_WUVE = 6  # STCE -> WUVE, for vector ops fused behind a product
    OUT_FROM_WUVE = 7  # WUVE -> STORE, the same bank after them
    VIN_FULL = 8
    VIN_FREE = 9
    VOUT_FULL = 10  # WUVE -> STORE
    VOUT_FREE = 11  # STORE -> WUVE
    VOUT_TO_SORE = 12  # WUVE -> SORE, updated weights to pre-generate from
    VOUT_FROM_SORE = 13  # SORE -> WUVE, that bank is read
    MASK_IN_FULL = 14  # LOAD -> SORE
    MASK_IN_FREE = 15  # SORE -> LOAD
    MASK_OUT_FULL = 16  # SORE -> STORE
    MASK_OUT_FREE = 17  # STORE -> SORE
    STORED = 18  # STORE -> LOAD, a tensor that a later item reads is in memory


CHANNEL_ENDS: dict[Channel, tuple[Queue, Queue]] = {
    Channel.LEFT_FULL: (Queue.LOAD, Queue.STCE),
    Channel.LEFT_FREE: (Queue.STCE, Queue.LOAD),
    Channel.RIGHT_FULL: (Queue.LOAD, Queue.STCE),
    Channel.RIGHT_FREE: (Queue.STCE, Queue.LOAD),
    Channel.OUT_FULL: (Queue.STCE, Queue.STORE),
    Channel.OUT_FREE: (Queue.STORE, Queue.STCE),
    Channel.OUT_TO_WUVE: (Queue.STCE, Queue.WUVE),
    Channel.OUT_FROM_WUVE: (Queue.WUVE, Queue.STORE),
    Channel.VIN_FULL: (Queue.LOAD, Queue.WUVE),
    Channel.VIN_FREE: (Queue.WUVE, Queue.LOAD),
    Channel.VOUT_FULL: (Queue.WUVE, Queue.STORE),
    Channel.VOUT_FREE: (Queue.STORE, Queue.WUVE),
    Channel.VOUT_TO_SORE: (Queue.WUVE, Queue.SORE),
    Channel.VOUT_FROM_SORE: (Queue.SORE, Queue.WUVE),
    Channel.MASK_IN_FULL: (Queue.LOAD, Queue.SORE),
    Channel.MASK_IN_FREE: (Queue.SORE, Queue.LOAD),
    Channel.MASK_OUT_FULL: (Queue.SORE, Queue.STORE),
    Channel.MASK_OUT_FREE: (Queue.STORE, Queue.SORE),
    Channel.STORED: (Queue.STORE, Queue.LOAD),
}
"""Producer and consumer of each channel."""


@dataclass(frozen=True)
class Transfer:
    """``load`` or ``store`` of one tile's region: ``runs`` of (count, contiguous bytes).

    Where the region lies is given by ``tensor``, the byte offset ``base`` of its first run, one
    byte stride per enclosing loop (outermost first) and the stride between its runs.

    On chip the first run begins at byte ``offset`` of the bank and the runs are ``bank_stride``
    bytes apart (0: packed, each on a beat of its own). A run takes ``chunk`` contiguous bytes of
    the bank (0: all of it), then goes on ``chunk_stride`` bytes after where the chunk began.
    Outputs are FP32 on chip and rounded to FP16 on their way, unless ``wide``.
    """

    runs: tuple[tuple[int, int], ...]
    buffer: str
    tensor: str = ""
    base: int = 0
    loop_strides: tuple[int, ...] = ()
    run_stride: int = 0
    offset: int = 0
    bank_stride: int = 0
    chunk: int = 0
    chunk_stride: int = 0
    wide: bool = False

    @property
    def bytes(self) -> int:
        return sum(count * size for count, size in self.runs)


@dataclass(frozen=True)
class Matmul:
    """One STCE instruction: a tile Y[rows, columns] (+)= X[rows, depth] W[depth, columns].

    ``batch`` independent tiles of the same shape follow each other. ``depth`` is the dense
    length of the reduction; ``groups`` the N:M groups it fills (a convolution's taps each pad
    their channels, so this is not always depth / M). ``rows`` of the array take tile rows
    (swapped=False: M of the product) and its columns the operand that may be compressed.
    With ``accumulate`` the tile is added to what the output bank holds.
    Without ``interleaved`` an OS pass gives work to one of a PE's interleave slots only.
    """

    dataflow: Dataflow
    rows: int
    depth: int
    columns: int
    pattern: Pattern = DENSE
    groups: int = 0
    batch: int = 1
    swapped: bool = False
    accumulate: bool = False
    interleaved: bool = True


@dataclass(frozen=True)
class Reduce:
    """SORE: keep N of every M in ``groups`` groups.

    Groups are contiguous, or with ``across`` run down the columns of rows of that many elements.
    """

    groups: int
    pattern: Pattern
    across: int = 0


@dataclass(frozen=True)
class Update:
    """WUVE: one optimizer step for ``elements`` weights.

    ``constants`` of "sgd" and "sgd-momentum" are learning rate, momentum and weight decay, those of
    "adamw" what ``weft.sim.reference.update.adamw_constants`` makes.
    """

    elements: int
    optimizer: str
    constants: tuple[float, ...] = ()


@dataclass(frozen=True)
class Window:
    """Rows that overlap: of pooling, one per output, ``width`` rounds long in each row of a window.

    ``outputs`` in each of ``strips``; strides in rounds, from strip to strip, output to output and
    within a window.
    """

    strips: int
    outputs: int
    width: int
    strip_stride: int
    output_stride: int
    stride: int


@dataclass(frozen=True)
class Vector:
    """WUVE: ``passes`` lane operations on each of ``elements``, ``row_passes`` on each row of them.

    ``over`` says where the elements of the ``rows`` lie. ``op`` and its ``constants`` name the lane
    program (``weft.sim.lanes.programs``); without an op the instruction has a time but no values.
    ``fused``: on an output bank of the STCE, in place.
    """

    elements: int
    passes: int
    op: str = ""
    constants: tuple[float, ...] = ()
    over: Over = Over.EACH
    rows: int = 0
    row_passes: int = 0
    fused: bool = False
    window: Window | None = None


@dataclass(frozen=True)
class Sync:
    """Only waits and signals. In the store queue it is a fence: it finishes when all is stored."""


Work = Transfer | Matmul | Reduce | Update | Vector | Sync


@dataclass(frozen=True)
class Instruction:
    """One entry of a queue."""

    queue: Queue
    work: Work
    waits: tuple[Channel, ...] = ()
    signals: tuple[Channel, ...] = ()


@dataclass(frozen=True)
class Loop:
    """``body`` run ``count`` times, every iteration alike but for addresses."""

    count: int
    body: tuple[Node, ...]


Node = Instruction | Loop


@dataclass(frozen=True)
class Segment:
    """The part of a program that works for one item of the schedule, named for it.

    Equal layers share one ``body`` object, so what holds for it is worked out once. ``shadow``
    names the stream that is interleaved with a product, if there is one.
    """

    name: str
    body: tuple[Node, ...]
    shadow: str = ""

    def owner(self, instruction: Instruction) -> str:
        """The name of what an instruction of this segment works for."""
        if not self.shadow:
            return self.name
        match instruction.work:
            case Transfer(buffer=("vector" | "mask")) | Update() | Reduce():
                return self.shadow
            case Vector(fused=False):
                return self.shadow
            case _:
                return self.name


@dataclass(frozen=True)
class Program:
    """Segments in program order; ``tokens`` are what each channel starts with (free banks)."""

    segments: tuple[Segment, ...]
    tokens: tuple[tuple[Channel, int], ...]

    @property
    def body(self) -> tuple[Node, ...]:
        """All segments' nodes in program order."""
        return tuple(node for segment in self.segments for node in segment.body)


def expand(body: tuple[Node, ...]) -> Iterator[Instruction]:
    """All instructions in program order, loops unrolled. Only for small programs and windows."""
    for node in body:
        if isinstance(node, Loop):
            for _ in range(node.count):
                yield from expand(node.body)
        else:
            yield node


def count_instructions(body: tuple[Node, ...]) -> int:
    """How many instructions run, without unrolling."""
    return sum(
        node.count * count_instructions(node.body) if isinstance(node, Loop) else 1 for node in body
    )


def check_program(program: Program) -> None:
    """Refuse programs that no machine can run.

    Raises:
        ProgramError: a channel used from the wrong queue, a loop whose body does not give back
            the tokens it takes, a loop that runs less than once, or a wait that no earlier
            signal can satisfy.
    """
    held = dict.fromkeys(Channel, 0)
    for channel, count in program.tokens:
        held[channel] += count
    _check_body(program.body, held)


def _check_body(body: tuple[Node, ...], held: dict[Channel, int]) -> None:
    for node in body:
        if isinstance(node, Loop):
            _check_loop(node, held)
        else:
            _check_instruction(node, held)


def _check_loop(loop: Loop, held: dict[Channel, int]) -> None:
    if loop.count < 1:
        raise ProgramError(f"a loop runs {loop.count} times; at least 1 is needed")
    before = dict(held)
    _check_body(loop.body, held)
    for channel in Channel:
        if held[channel] != before[channel]:
            change = held[channel] - before[channel]
            raise ProgramError(
                f"a loop's body changes the tokens of {channel.name} by {change}; it must be 0"
            )


def _check_instruction(instruction: Instruction, held: dict[Channel, int]) -> None:
    for channel in instruction.waits:
        if CHANNEL_ENDS[channel][1] != instruction.queue:
            raise ProgramError(f"{instruction.queue.name} cannot wait for {channel.name}")
        if held[channel] == 0:
            raise ProgramError(f"{instruction.queue.name} waits for {channel.name} for ever")
        held[channel] -= 1
    for channel in instruction.signals:
        if CHANNEL_ENDS[channel][0] != instruction.queue:
            raise ProgramError(f"{instruction.queue.name} cannot signal {channel.name}")
        held[channel] += 1
