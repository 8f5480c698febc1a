"""Values of WUVE's vector ops: lane programs, operation by operation, all lanes and slots at once.

A round's operands lie in ``vector_half_in`` one after the other, ``inputs`` times ``lanes`` FP16; a
fused op's in the output bank, FP32, in its columns' order. Words lie in ``vector_in``, one line of
``lanes`` FP32 for each of a row's rounds or of the strips. Results: FP16 round by round in
``vector_half_out`` (of windows as they leave, of rows packed), FP32 words strip by strip in
``vector_out``; a fused op's in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.sim.lanes import CODES, REGISTERS, Emit, Guard, Kind, LaneOp, LaneProgram, Source
from weft.sim.lanes.functions import Function, evaluate
from weft.sim.lanes.programs import compile_program
from weft.sim.program import Vector
from weft.sim.program.strips import Limit, Strips, strips_of
from weft.sim.reference.banks import NAN32, PlaceError, Store, narrow
from weft.sim.reference.bind import Bound

__all__ = ["apply_vector"]

Floats = NDArray[np.float32]
Words = NDArray[np.uint32]
Marks = NDArray[np.bool_]


def _next_random(state: Words) -> Words:
    """Marsaglia's xorshift (2003)."""
    state = state ^ (state << np.uint32(13))
    state = state ^ (state >> np.uint32(17))
    return state ^ (state << np.uint32(5))


@dataclass
class _Lanes:
    """One vector instruction under way."""

    program: LaneProgram
    strips: Strips
    source: Floats  # lines of operands: [line][lane]
    words: Floats  # [line][lane]
    random: Words
    halves: NDArray[np.uint16]
    made_words: Words
    fused: Words | None
    slots: int
    lanes: int

    def run(self) -> None:
        """All strips."""
        self.registers = np.zeros((REGISTERS, self.slots, self.lanes), np.float32)
        self.counted = 0  # lines of outputs of windows
        for strip in range(self.strips.count):
            for phase in self.program.phases:
                for step in range(self.strips.width if phase.sweep else 1):
                    for op in phase.ops:
                        self._one(op, strip, step, sweep=phase.sweep)

    def _one(self, op: LaneOp, strip: int, step: int, *, sweep: bool) -> None:
        strips, slots = self.strips, np.arange(self.slots)
        place = strip * strips.strip_stride + slots * strips.slot_stride
        place += step * strips.stride if sweep else 0
        limited = {
            Limit.LAST_STRIP: strip == strips.count - 1,
            Limit.LAST_STEP: sweep and step == strips.width - 1,
            Limit.ALWAYS: True,
        }[strips.limit]
        used = strips.used if limited else self.slots
        inside = (slots < used)[:, None] & np.ones(self.lanes, np.bool_)
        if sweep and step == strips.width - 1:
            short = slots >= 0 if strips.limit is Limit.LAST_STRIP else slots == used - 1
            inside &= ~short[:, None] | (np.arange(self.lanes) < strips.tail)
        a, b, c = (
            self._read(op, source, place, strip, step if sweep else 0)
            for source in (op.a, op.b, op.c)
        )
        if op.lane_exchange:
            a = a[:, np.arange(self.lanes) ^ (1 << (op.lane_exchange - 1))]
        if op.slot_exchange:
            a = a[slots ^ (1 << (op.slot_exchange - 1))]
        made = self._make(op, a, b, c)
        keep = {
            Guard.ALWAYS: np.ones_like(inside),
            Guard.INSIDE: inside,
            Guard.FIRST: (slots == 0)[:, None] & np.ones(self.lanes, np.bool_),
        }[op.guard]
        self.registers[op.target] = np.where(keep, made, self.registers[op.target])
        self._emit(op, made, place, slots < used, strip)

    def _read(
        self, op: LaneOp, source: Source, place: NDArray[np.int64], strip: int, step: int
    ) -> Floats:
        shape = (self.slots, self.lanes)
        if source.code < REGISTERS:
            values = self.registers[source.code]
        elif source.code in (CODES["low"], CODES["high"]):
            round_of = place + (op.constant if op.displaced else 0)
            line = round_of * self.program.inputs + 2 * op.pair + (source.code == CODES["high"])
            values = self.source[line % self.source.shape[0]]
        elif source.code in (CODES["word"], CODES["word_low"], CODES["word_high"]):
            row = strip if self.program.by_strip else step
            line = self.words[(row * self.program.words + op.word) % self.words.shape[0]]
            if source.code != CODES["word"]:
                pairs = line.view(np.float16).reshape(-1, 2)
                line = pairs[:, int(source.code == CODES["word_high"])].astype(np.float32)
            values = np.broadcast_to(line, shape)
        else:
            bits = {
                CODES["constant"]: op.constant,
                CODES["one"]: 0x3F800000,
                CODES["minus_zero"]: 0x80000000,
            }[source.code]
            values = np.full(shape, np.array(bits, np.uint32).view(np.float32))
        if source.absolute:
            values = np.abs(values)
        return -values if source.negate else values

    def _make(self, op: LaneOp, a: Floats, b: Floats, c: Floats) -> Floats:
        with np.errstate(all="ignore"):
            match op.kind:
                case Kind.MAD:
                    made = a * b + c
                case Kind.MAX:
                    made = np.where((a > b) | np.isnan(a), a, b)
                case Kind.MIN:
                    made = np.where((a < b) | np.isnan(a), a, b)
                case Kind.LESS:
                    made = (a < b).astype(np.float32)
                case Kind.EQUAL:
                    made = (a == b).astype(np.float32)
                case Kind.PICK:
                    made = np.where(a <= 0, c, b)
                case Kind.FUNCTION:
                    bits = np.ascontiguousarray(a).view(np.uint32)
                    made = evaluate(Function(op.function), bits).view(np.float32)
                case Kind.RANDOM:
                    made = self._number() if op.function else self._draw()
        return made

    def _number(self) -> Floats:
        """1 and 2^-23 of the place among all lanes of all slots."""
        places = np.arange(self.slots * self.lanes, dtype=np.uint32)
        return (np.uint32(0x3F800000) | places).view(np.float32).reshape(self.slots, self.lanes)

    def _draw(self) -> Floats:
        """One number per slot and lane, slot by slot."""
        drawn = np.empty((self.slots, self.lanes), np.uint32)
        for slot in range(self.slots):
            self.random[:] = _next_random(self.random)
            drawn[slot] = self.random
        return (np.uint32(0x3F800000) | drawn >> np.uint32(9)).view(np.float32)

    def _emit(
        self, op: LaneOp, made: Floats, place: NDArray[np.int64], used: Marks, strip: int
    ) -> None:
        bits = _canonical(made)
        if op.emit is Emit.HALF and self.fused is not None:
            self.fused[place[used]] = bits[used]
        elif op.emit is Emit.HALF:
            count = int(np.sum(used))
            if self.strips.limit is Limit.ALWAYS:
                place = self.counted + np.arange(self.slots)
                self.counted += count
            lines = self.halves.reshape(-1, self.lanes)
            lines[place[used]] = narrow(bits[used].reshape(-1)).reshape(count, self.lanes)
        elif op.emit is Emit.WORD:
            line = strip * self.program.words_out + op.word
            self.made_words.reshape(-1, self.lanes)[line] = bits[0]
        elif op.emit is Emit.ROW:
            rows = strip * self.slots + np.flatnonzero(used)
            for line in rows[rows % self.lanes == 0]:
                self.halves[line : line + self.lanes] = 0
            self.halves[rows] = narrow(bits[np.flatnonzero(used), rows % self.lanes])


def _canonical(values: Floats) -> Words:
    bits = np.ascontiguousarray(values).view(np.uint32).copy()
    bits[np.isnan(values)] = NAN32
    return bits


def apply_vector(store: Store, bound: Bound, work: Vector) -> None:
    """One vector op on its banks.

    Raises:
        PlaceError: a bank that is too small.
        LaneError: an op without a program, or rows that it cannot have there.
    """
    wuve = store.machine.wuve
    program = compile_program(work.op, work.over, wuve.lanes, wuve.slots, work.constants)
    if program.planar:
        raise PlaceError(f"{work.op} is an optimizer step, not a vector op")
    strips = strips_of(work, wuve)
    halves = store.bank("vector_half_in", bound).view(np.float16)
    made = store.bank("vector_half_out", bound).view(np.uint16)
    fused: Words | None = None
    if work.fused:
        fused = store.bank("output", bound).view(np.uint32).reshape(-1, wuve.lanes)
        source = fused.view(np.float32)
    else:
        source = halves.astype(np.float32).reshape(-1, wuve.lanes)
    room = source.shape[0] // program.inputs
    if work.window is None and strips.rounds > room:
        raise PlaceError(
            f"{work.elements} elements need {strips.rounds} of {room} rounds of a bank"
        )
    _Lanes(
        program,
        strips,
        source,
        store.bank("vector_in", bound).view(np.float32).reshape(-1, wuve.lanes),
        store.random,
        made,
        store.bank("vector_out", bound).view(np.uint32),
        fused,
        wuve.slots,
        wuve.lanes,
    ).run()
