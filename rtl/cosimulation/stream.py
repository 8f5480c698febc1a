"""Streams through WUVE and SORE, with everything that the machine needs to run them for real.

An update reads weights, velocities (FP32) and gradients (FP16) chunk by chunk, writes them back
with an FP16 copy, and SORE prunes the copy on its way. Kept values lie chunk by chunk, slot by
slot; their index planes likewise, one plane after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weft.rtl.cosimulation.product import Case
from weft.sim.lanes import Emit, LaneProgram
from weft.sim.lanes.programs import compile_program
from weft.sim.machine import Machine
from weft.sim.pattern import Pattern
from weft.sim.program import (
    Channel,
    Instruction,
    Loop,
    Node,
    Program,
    Queue,
    Reduce,
    Segment,
    Transfer,
    Update,
    Vector,
)
from weft.sim.program.strips import strips_of
from weft.sim.program.timing import ceil_div

__all__ = ["Mask", "image_of", "mask_case", "update_case", "vector_case"]

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Mask:
    """One layout to make: the pattern, and the row length where groups run across rows."""

    pattern: Pattern
    across: int = 0


@dataclass
class _Layout:
    """Tensors one after the other, each on a page of its own."""

    parts: list[Bytes] = field(default_factory=list[Bytes])
    tensors: dict[str, int] = field(default_factory=dict[str, int])
    end: int = 0

    def add(self, name: str, image: Bytes) -> None:
        """Place a tensor."""
        padded = np.zeros(ceil_div(max(1, image.size), 4096) * 4096, np.uint8)
        padded[: image.size] = image
        self.tensors[name] = self.end
        self.parts.append(padded)
        self.end += padded.size

    def case(self, name: str, body: Sequence[Node], machine: Machine) -> Case:
        """The whole case; nothing is expected beyond what the reference says."""
        channels = (
            Channel.VIN_FREE,
            Channel.VOUT_FREE,
            Channel.VOUT_FROM_SORE,
            Channel.MASK_IN_FREE,
            Channel.MASK_OUT_FREE,
        )
        tokens = tuple((channel, machine.buffers.banks) for channel in channels)
        program = Program((Segment(name, tuple(body)),), tokens)
        return Case(name, program, np.concatenate(self.parts), self.tensors, None)


def image_of(case: Case, memory: Bytes, name: str, size: int) -> Bytes:
    """The first ``size`` bytes of a tensor in ``memory``."""
    first = case.tensors[name]
    return memory[first : first + size]


def _move(name: str, buffer: str, size: int, pitch: int, offset: int = 0) -> Transfer:
    """One run of a chunk; ``pitch`` bytes from chunk to chunk."""
    return Transfer(((1, size),), buffer, name, loop_strides=(pitch,), offset=offset)


def _chain(
    queue: Queue, works: Sequence[Transfer], waits: Channel, signals: Channel
) -> list[Instruction]:
    """Transfers of which the first waits and the last signals."""
    last = len(works) - 1
    return [
        Instruction(queue, work, (waits,) if i == 0 else (), (signals,) if i == last else ())
        for i, work in enumerate(works)
    ]


def _pitch(machine: Machine, size: int) -> int:
    beat = max(machine.memory.read_bytes_per_cycle, machine.memory.write_bytes_per_cycle)
    return ceil_div(size, beat) * beat


def _mask_stores(machine: Machine, mask: Mask, name: str, elements: int) -> list[Transfer]:
    """Stores of what SORE makes of a chunk of ``elements``."""
    lanes, pattern = machine.sore.lanes, mask.pattern
    slots = ceil_div(pattern.groups(elements), lanes) * pattern.n
    plane = _pitch(machine, slots * lanes // 8)
    planes = pattern.index_bits
    works = [_move(name, "mask", slots * lanes * 2, slots * lanes * 2)]
    for bit in range(planes):
        works.append(
            Transfer(
                ((1, slots * lanes // 8),),
                f"mask_index{bit}",
                f"{name} planes",
                base=bit * plane,
                loop_strides=(planes * plane,),
            )
        )
    return works


def _mask_tensors(
    layout: _Layout, machine: Machine, mask: Mask, name: str, chunk: int, count: int
) -> None:
    lanes, pattern = machine.sore.lanes, mask.pattern
    slots = ceil_div(pattern.groups(chunk), lanes) * pattern.n
    plane = _pitch(machine, slots * lanes // 8)
    layout.add(name, np.zeros(count * slots * lanes * 2, np.uint8))
    layout.add(f"{name} planes", np.zeros(count * pattern.index_bits * plane, np.uint8))


def update_case(
    name: str,
    machine: Machine,
    weight: NDArray[np.float32],
    velocity: NDArray[np.float32],
    gradient: NDArray[np.float16],
    chunk: int,
    work: Update,
    masks: Sequence[Mask] = (),
    second: NDArray[np.float32] | None = None,
) -> Case:
    """An optimizer step in chunks of ``chunk`` elements, of which the weights are whole ones.

    AdamW has its first moments in ``velocity`` and its second ones in ``second``. Tensors after it:
    "weight", "velocity", "second", "half", and "kept0", "kept0 planes" ... of the masks.
    """
    count, rest = divmod(weight.size, chunk)
    if rest:
        raise ValueError(f"{weight.size} elements are no whole chunks of {chunk}")
    layout = _Layout()
    layout.add("weight", weight.view(np.uint8))
    layout.add("velocity", velocity.view(np.uint8))
    if second is not None:
        layout.add("second", second.view(np.uint8))
    layout.add("gradient", gradient.view(np.uint8))
    layout.add("half", np.zeros(2 * weight.size, np.uint8))
    wide, thin = 4 * chunk, 2 * chunk
    state = [("weight", 0)]
    if work.optimizer != "sgd":
        state.append(("velocity", wide))
    if second is not None:
        state.append(("second", 2 * wide))

    def states() -> list[Transfer]:
        return [_move(tensor, "vector", wide, wide, offset) for tensor, offset in state]

    loads = [*states(), _move("gradient", "vector_half", thin, thin)]
    stores = [*states(), _move("half", "vector_half", thin, thin)]
    waits, signals = [Channel.VIN_FULL, Channel.VOUT_FREE], [Channel.VIN_FREE, Channel.VOUT_FULL]
    if masks:
        waits.append(Channel.VOUT_FROM_SORE)
        signals.append(Channel.VOUT_TO_SORE)
    body: list[Node] = [
        *_chain(Queue.LOAD, loads, Channel.VIN_FREE, Channel.VIN_FULL),
        Instruction(
            Queue.WUVE,
            Update(chunk, work.optimizer, work.constants),
            tuple(waits),
            tuple(signals),
        ),
        *_chain(Queue.STORE, stores, Channel.VOUT_FULL, Channel.VOUT_FREE),
    ]
    for index, mask in enumerate(masks):
        _mask_tensors(layout, machine, mask, f"kept{index}", chunk, count)
        take = (Channel.VOUT_TO_SORE,) if index == 0 else ()
        give = (Channel.VOUT_FROM_SORE,) if index == len(masks) - 1 else ()
        reduce = Reduce(mask.pattern.groups(chunk), mask.pattern, mask.across)
        body.append(
            Instruction(
                Queue.SORE, reduce, (*take, Channel.MASK_OUT_FREE), (*give, Channel.MASK_OUT_FULL)
            )
        )
        works = _mask_stores(machine, mask, f"kept{index}", chunk)
        body += _chain(Queue.STORE, works, Channel.MASK_OUT_FULL, Channel.MASK_OUT_FREE)
    return layout.case(name, [Loop(count, tuple(body))], machine)


def mask_case(
    name: str, machine: Machine, values: NDArray[np.float16], chunk: int, mask: Mask
) -> Case:
    """Prune a dense tensor that lies in memory; tensors after it: "kept", "kept planes"."""
    count, rest = divmod(values.size, chunk)
    if rest:
        raise ValueError(f"{values.size} elements are no whole chunks of {chunk}")
    layout = _Layout()
    layout.add("dense", values.view(np.uint8))
    _mask_tensors(layout, machine, mask, "kept", chunk, count)
    load = _move("dense", "mask", 2 * chunk, 2 * chunk)
    body: list[Node] = [
        Instruction(Queue.LOAD, load, (Channel.MASK_IN_FREE,), (Channel.MASK_IN_FULL,)),
        Instruction(
            Queue.SORE,
            Reduce(mask.pattern.groups(chunk), mask.pattern, mask.across),
            (Channel.MASK_IN_FULL, Channel.MASK_OUT_FREE),
            (Channel.MASK_IN_FREE, Channel.MASK_OUT_FULL),
        ),
        *_chain(
            Queue.STORE,
            _mask_stores(machine, mask, "kept", chunk),
            Channel.MASK_OUT_FULL,
            Channel.MASK_OUT_FREE,
        ),
    ]
    return layout.case(name, [Loop(count, tuple(body))], machine)


def _results(program: LaneProgram, work: Vector, machine: Machine) -> dict[str, int]:
    """Bytes of results by the part of WUVE's output bank that one instruction fills."""
    wuve, strips = machine.wuve, strips_of(work, machine.wuve)
    emitted: Counter[Emit] = Counter()
    for phase in program.phases:
        times = strips.width if phase.sweep and work.window is not None else 1
        for op in phase.ops:
            emitted[op.emit] += times
    sizes: dict[str, int] = {}
    if Emit.HALF in emitted:
        outputs = strips.count * strips.used * emitted[Emit.HALF]
        lines = strips.rounds if work.window is None else outputs
        sizes["vector_half"] = 2 * wuve.lanes * lines
    if Emit.ROW in emitted:
        sizes["vector_half"] = 2 * wuve.lanes * ceil_div(work.rows, wuve.lanes)
    if Emit.WORD in emitted:
        sizes["vector"] = 4 * wuve.lanes * strips.count * program.words_out
    return sizes


def vector_case(
    name: str,
    machine: Machine,
    operands: Sequence[NDArray[np.float16]],
    work: Vector,
    words: NDArray[np.float32] | NDArray[np.float16] | None = None,
    count: int = 1,
) -> Case:
    """``count`` vector ops one after the other, each on its part of tensors of equal size.

    ``words`` are the same for all. The tensors after it: "result" and "words out".
    """
    lanes = machine.wuve.lanes
    program = compile_program(work.op, work.over, lanes, machine.wuve.slots, work.constants)
    layout = _Layout()
    loads: list[Transfer] = []
    if operands:
        lines = [operand.reshape(-1, lanes) for operand in operands]
        lines += [np.zeros_like(lines[0])] * (program.inputs - len(lines))
        image = np.ascontiguousarray(np.stack(lines, axis=1)).reshape(-1).view(np.uint8)
        layout.add("operands", image)
        part, rest = divmod(image.size, count)
        if rest:
            raise ValueError(f"{image.size} bytes of operands in {count} parts")
        loads.append(_move("operands", "vector_half", part, part))
    if words is not None:
        layout.add("words", np.ascontiguousarray(words).reshape(-1).view(np.uint8))
        loads.append(_move("words", "vector", words.size * words.itemsize, 0))
    stores: list[Transfer] = []
    for buffer, size in _results(program, work, machine).items():
        tensor = "result" if buffer == "vector_half" else "words out"
        layout.add(tensor, np.zeros(size * count, np.uint8))
        stores.append(_move(tensor, buffer, size, size))
    takes = (Channel.VIN_FULL,) if loads else ()
    gives = (Channel.VIN_FREE,) if loads else ()
    body: list[Node] = [
        *_chain(Queue.LOAD, loads, Channel.VIN_FREE, Channel.VIN_FULL),
        Instruction(Queue.WUVE, work, (*takes, Channel.VOUT_FREE), (*gives, Channel.VOUT_FULL)),
        *_chain(Queue.STORE, stores, Channel.VOUT_FULL, Channel.VOUT_FREE),
    ]
    return layout.case(name, [Loop(count, tuple(body))], machine)
