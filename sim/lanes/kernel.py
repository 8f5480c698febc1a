"""A formula as lane operations: values get registers, operations their operands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from weft.sim.lanes.functions import Function
from weft.sim.lanes.operations import (
    CODES,
    REGISTERS,
    Emit,
    Guard,
    Kind,
    LaneError,
    LaneOp,
    LaneProgram,
    Over,
    Phase,
    Reduction,
    Source,
)

__all__ = ["Kernel", "Value"]

_MINUS_ZERO = 0x80000000


def _bits(value: float) -> int:
    return int(np.array(value, np.float32).view(np.uint32))


@dataclass(frozen=True, eq=False)
class Value:
    """A number that a program names: a (virtual) register, an operand or a constant, maybe negated.

    ``place`` is the pair or word of an operand, ``rounds_on`` how far from its round it lies.
    ``exchange`` takes a register of another lane or slot: (lane step, slot step).
    """

    kernel: Kernel
    register: int | None = None
    code: int | None = None
    bits: int = 0
    place: int = 0
    rounds_on: int | None = None
    exchange: tuple[int, int] = (0, 0)
    negate: bool = False
    absolute: bool = False

    def ahead(self, rounds: int) -> Value:
        """The same operand that many rounds on."""
        return replace(self, rounds_on=rounds)

    def __neg__(self) -> Value:
        return replace(self, negate=not self.negate)

    def __abs__(self) -> Value:
        return replace(self, negate=False, absolute=True)

    def __add__(self, other: Value | float) -> Value:
        return self.kernel.mad(self, 1.0, other)

    def __radd__(self, other: float) -> Value:
        return self + other

    def __sub__(self, other: Value | float) -> Value:
        return self + (-other)

    def __rsub__(self, other: float) -> Value:
        return -self + other

    def __mul__(self, other: Value | float) -> Value:
        return self.kernel.mad(self, other, -0.0)

    def __rmul__(self, other: float) -> Value:
        return self * other


@dataclass(frozen=True)
class _Op:
    """A lane operation on virtual registers, ``serial`` in the order of their making."""

    serial: int
    kind: Kind
    sources: tuple[Value, Value, Value]
    target: int
    function: int
    guard: Guard


@dataclass(frozen=True)
class _Leaves:
    """Where the result of an operation goes besides its register."""

    emit: Emit
    word: int


_STAYS = _Leaves(Emit.NOWHERE, 0)


@dataclass
class Kernel:
    """Takes down the lane operations of a formula, and gives each value a register.

    ``inputs`` and ``words`` are how many the formula may ask for.
    """

    lanes: int = 4
    slots: int = 16
    over: Over = Over.EACH
    _phases: list[tuple[bool, list[_Op]]] = field(default_factory=list[tuple[bool, list[_Op]]])
    _leaving: dict[int, _Leaves] = field(default_factory=dict[int, _Leaves])
    _registers: int = 0
    _serial: int = 0
    _inside: bool = False

    def input(self, number: int) -> Value:
        """Operand ``number`` of the round; two that share an operation are a pair 2i, 2i + 1."""
        return Value(self, code=CODES["high" if number % 2 else "low"], place=number // 2)

    def word(self, number: int) -> Value:
        """FP32 word ``number`` of the row's round, or of the strip."""
        return Value(self, code=CODES["word"], place=number)

    def low(self, number: int) -> Value:
        """The lower FP16 of a word."""
        return Value(self, code=CODES["word_low"], place=number)

    def high(self, number: int) -> Value:
        """The upper FP16 of a word."""
        return Value(self, code=CODES["word_high"], place=number)

    def mad(
        self, a: Value | float, b: Value | float, c: Value | float, into: Value | None = None
    ) -> Value:
        """a b + c; an absolute value may be a factor."""
        left, right = self._value(a), self._value(b)
        if right.absolute:
            left, right = right, left
        return self._do(Kind.MAD, left, right, c, into)

    def max(self, a: Value | float, b: Value | float, into: Value | None = None) -> Value:
        """The larger one, NaN if one is."""
        return self._do(Kind.MAX, a, b, -0.0, into)

    def min(self, a: Value | float, b: Value | float, into: Value | None = None) -> Value:
        """The smaller one, NaN if one is."""
        return self._do(Kind.MIN, a, b, -0.0, into)

    def less(self, a: Value | float, b: Value | float) -> Value:
        """1 where a < b."""
        return self._do(Kind.LESS, a, b, -0.0)

    def equal(self, a: Value | float, b: Value | float) -> Value:
        """1 where a = b."""
        return self._do(Kind.EQUAL, a, b, -0.0)

    def pick(
        self, a: Value, above: Value | float, below: Value | float, into: Value | None = None
    ) -> Value:
        """``below`` where a <= 0, else ``above``."""
        return self._do(Kind.PICK, a, above, below, into)

    def function(self, which: Function, a: Value) -> Value:
        """An elementary function."""
        return self._do(Kind.FUNCTION, a, -0.0, -0.0, function=which)

    def random(self) -> Value:
        """Uniform in [1, 2)."""
        return self._do(Kind.RANDOM, -0.0, -0.0, -0.0)

    def number(self) -> Value:
        """Slot times lanes, plus lane."""
        made = self._do(Kind.RANDOM, -0.0, -0.0, -0.0, function=1)
        return self.mad(made, 2.0**23, -(2.0**23))

    def copy(self, a: Value | float) -> Value:
        """In a register of its own."""
        return self.mad(a, 1.0, -0.0)

    @contextmanager
    def sweep(self) -> Iterator[None]:
        """Operations for every round of the row; what they gather they add only inside of it."""
        if self._inside:
            raise LaneError("a sweep within a sweep")
        self._phases.append((True, []))
        self._inside = True
        yield
        self._inside = False
        self._phases.append((False, []))

    def exchanges(self) -> list[tuple[int, int]]:
        """Exchanges of lanes, then of slots, after which each has had to do with all of its row."""
        steps: list[tuple[int, int]] = []
        if self.over in (Over.LANES, Over.ALL):
            steps += [(step + 1, 0) for step in range((self.lanes - 1).bit_length())]
        if self.over in (Over.SLOTS, Over.ALL):
            steps += [(0, step + 1) for step in range((self.slots - 1).bit_length())]
        return steps

    def exchanged(self, value: Value, lane: int, slot: int) -> Value:
        """``value`` of another lane, or of another slot."""
        return self.copy(replace(value, exchange=(lane, slot)))

    def reduced(self, gathered: Value, how: Reduction = Reduction.SUM) -> Value:
        """What each lane of each slot has gathered, put together over the row."""
        for exchange in self.exchanges():
            other = replace(gathered, exchange=exchange)
            if how is Reduction.LARGEST:
                gathered = self.max(other, gathered)
            elif how is Reduction.PRODUCT:
                gathered = self.mad(other, gathered, -0.0)
            else:
                gathered = self.mad(other, 1.0, gathered)
        return gathered

    def first(self, value: Value, into: Value) -> None:
        """Put ``value`` into slot 0 of ``into``."""
        self._do(Kind.MAD, value, 1.0, -0.0, into, guard=Guard.FIRST)

    def emit(self, value: Value | float, where: Emit = Emit.HALF, word: int = 0) -> None:
        """Let a result leave, as ``word`` of its strip if it is one."""
        given = self._value(value)
        ops = self._phases[-1][1] if self._phases else []
        plain = given.register is not None and not (given.negate or given.absolute)
        fresh = plain and ops and ops[-1].target == given.register
        if not fresh or ops[-1].serial in self._leaving:
            self.copy(given)
        self._leaving[self._phases[-1][1][-1].serial] = _Leaves(where, word)

    def program(
        self,
        name: str,
        inputs: int,
        words: int = 0,
        *,
        by_strip: bool = False,
        planar: bool = False,
    ) -> LaneProgram:
        """What was taken down.

        Raises:
            LaneError: more than eight live values, two constants or two pairs in one operation.
        """
        phases = [(sweep, ops) for sweep, ops in self._phases if ops]
        registers = _allocate(phases)
        done = tuple(
            Phase(
                sweep,
                tuple(
                    _lane_op(name, op, self._leaving.get(op.serial, _STAYS), registers)
                    for op in ops
                ),
            )
            for sweep, ops in phases
        )
        width = {0: 1, 1: 1, 2: 2, 3: 4, 4: 4}[inputs]
        return LaneProgram(name, done, width, words, by_strip, planar)

    def _value(self, given: Value | float) -> Value:
        if isinstance(given, Value):
            return given
        bits = _bits(given)
        sign, size = bits >> 31, bits & 0x7FFFFFFF
        if size == 0:
            return Value(self, code=CODES["minus_zero"], negate=not sign)
        if size == 0x3F800000:
            return Value(self, code=CODES["one"], negate=bool(sign))
        return Value(self, code=CODES["constant"], bits=size, negate=bool(sign))

    def _do(
        self,
        kind: Kind,
        a: Value | float,
        b: Value | float,
        c: Value | float,
        into: Value | None = None,
        *,
        function: int = 0,
        guard: Guard | None = None,
    ) -> Value:
        if not self._phases:
            self._phases.append((self.over is Over.EACH, []))
        target = self._target(into)
        if guard is None:
            guard = Guard.INSIDE if into is not None and self._inside else Guard.ALWAYS
        sources = (self._value(a), self._value(b), self._value(c))
        if sources[1].absolute or sources[2].absolute:
            raise LaneError("only the first operand may be absolute")
        op = _Op(self._serial, kind, sources, target, function, guard)
        self._serial += 1
        self._phases[-1][1].append(op)
        return Value(self, register=target)

    def _target(self, into: Value | None) -> int:
        """The register of ``into``, or a new one."""
        if into is not None and into.register is not None:
            return into.register
        self._registers += 1
        return self._registers - 1


def _allocate(phases: list[tuple[bool, list[_Op]]]) -> dict[int, int]:
    """Virtual registers to real ones; what a sweep reads from before it lives to its end."""
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    place = 0
    for sweep, ops in phases:
        start, end = place, place + len(ops)
        for op in ops:
            read = [source.register for source in op.sources if source.register is not None]
            for register in read:
                before = begins[register] < start
                ends[register] = end if sweep and before else max(ends[register], place)
                if op.sources[0].exchange[1]:
                    ends[register] = max(ends[register], place + 1)
            if op.target not in begins:
                begins[op.target] = ends[op.target] = place
            elif sweep and begins[op.target] < start:
                ends[op.target] = end
            else:
                ends[op.target] = max(ends[op.target], place)
            place += 1
    given: dict[int, int] = {}
    owners: list[int | None] = [None] * REGISTERS  # whom each real register was last given to
    for register in sorted(begins, key=lambda r: begins[r]):
        free = (
            real
            for real, owner in enumerate(owners)
            if owner is None or ends[owner] <= begins[register]
        )
        real = next(free, None)
        if real is None:
            raise LaneError(f"more than {REGISTERS} values at once")
        given[register], owners[real] = real, register
    return given


def _lane_op(name: str, op: _Op, leaves: _Leaves, registers: Mapping[int, int]) -> LaneOp:
    operands = {code: [s for s in op.sources if s.code in codes] for code, codes in _GROUPS.items()}
    constants = {source.bits for source in operands["constant"]}
    # A displacement takes the constant's place in the operation.
    constants |= {s.rounds_on for s in operands["pair"] if s.rounds_on is not None}
    pairs = {source.place for source in operands["pair"]}
    words = {source.place for source in operands["word"]}
    if leaves.emit is Emit.WORD:
        words.add(leaves.word)
    if len(constants) > 1 or len(pairs) > 1 or len(words) > 1:
        raise LaneError(f"{name}: an operation with two constants, pairs or words")
    a, b, c = (_source(source, registers) for source in op.sources)
    lane_exchange, slot_exchange = op.sources[0].exchange
    return LaneOp(
        op.kind,
        a,
        b,
        c,
        target=registers[op.target],
        function=op.function,
        guard=op.guard,
        emit=leaves.emit,
        lane_exchange=lane_exchange,
        slot_exchange=slot_exchange,
        pair=pairs.pop() if pairs else 0,
        word=words.pop() if words else 0,
        displaced=any(source.rounds_on is not None for source in operands["pair"]),
        constant=constants.pop() if constants else 0,
    )


_GROUPS = {
    "constant": (CODES["constant"],),
    "pair": (CODES["low"], CODES["high"]),
    "word": (CODES["word"], CODES["word_low"], CODES["word_high"]),
}
"""Sources of which an operation has room for one each."""


def _source(value: Value, registers: Mapping[int, int]) -> Source:
    code = value.code if value.register is None else registers[value.register]
    if code is None:
        raise LaneError("a value that is neither a register nor an operand")
    return Source(code, value.negate, value.absolute)
