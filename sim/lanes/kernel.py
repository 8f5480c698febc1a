"""Programs for the lanes of WUVE: what a vector op does, one lane operation after the other.

A vector instruction works off strips of ``slots`` rounds of ``lanes`` elements. Every operation is
issued once per slot before the next one begins, so its result is there when the next one needs it,
and a strip takes (row operations + width x sweep operations) x slots cycles: no stall, no bubble.
A program is phases of operations; a sweep is repeated for the ``width`` rounds that a slot
works through, a row phase runs once. Each slot of each lane has eight FP32 registers.

Where the elements of a row lie is its ``Over``: sums over a row are then sums over a slot's rounds
followed by exchanges between lanes (l with l xor 2^i) or slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

import numpy as np

from weft.sim.lanes.functions import Function

__all__ = [
    "CODES",
    "REGISTERS",
    "Emit",
    "Guard",
    "Kernel",
    "Kind",
    "LaneError",
    "LaneOp",
    "LaneProgram",
    "Over",
    "Reduction",
    "Source",
    "Value",
]

REGISTERS = 8
"""Of each slot of each lane."""


class LaneError(ValueError):
    """A program that the lanes cannot hold."""


class Kind(IntEnum):
    """What a lane operation does with a, b and c, by its number in the Verilog."""

    MAD = 0  # a b + c, the product rounded and then the sum
    MAX = 1  # a if a > b or a is NaN, else b
    MIN = 2  # a if a < b or a is NaN, else b
    LESS = 3  # 1 if a < b, else 0
    EQUAL = 4  # 1 if a = b, else 0
    PICK = 5  # c if a <= 0, else b
    FUNCTION = 6  # an elementary function of a
    RANDOM = 7  # uniform in [1, 2), or, of function 1, 1 + 2^-23 times the lane's number


class Over(StrEnum):
    """Where the elements of a row lie."""

    EACH = ""  # no rows: every round is on its own
    APART = "apart"  # a row in a lane of a slot: a round is one element of `lanes` rows
    LANES = "lanes"  # a row in a slot: all its rounds, one after the other
    SLOTS = "slots"  # a row in a lane: rounds `lanes` rows wide, dealt out to the slots
    ALL = "all"  # a row in all lanes of all slots


class Reduction(StrEnum):
    """How a row's parts are put together."""

    SUM = "sum"
    LARGEST = "largest"
    PRODUCT = "product"


class Guard(IntEnum):
    """Where a register takes a result."""

    ALWAYS = 0
    INSIDE = 1  # not beyond the last round, nor beyond the end of the row
    FIRST = 2  # in slot 0 only


class Emit(IntEnum):
    """Where a result goes besides a register."""

    NOWHERE = 0
    HALF = 1  # rounded to FP16, in the place of the round
    WORD = 2  # FP32: from slot 0 in the strip's place, or planar from every round
    ROW = 3  # rounded to FP16, one element per row, packed


CODES = {
    "constant": 8,
    "low": 9,
    "high": 10,
    "word": 11,
    "word_low": 12,
    "word_high": 13,
    "one": 14,
    "minus_zero": 15,
}
"""Sources that are no register: operands of the round in pairs of FP16, words of the row in FP32 or
as two FP16, and constants."""


@dataclass(frozen=True)
class Source:
    """An operand: a register below 8, or one of ``CODES``; ``exchange`` is of lanes or slots."""

    code: int
    negate: bool = False
    absolute: bool = False


@dataclass(frozen=True)
class LaneOp:
    """One lane operation. Only ``a`` may be absolute, or come from another lane or slot."""

    kind: Kind
    a: Source
    b: Source
    c: Source
    target: int = -1
    function: int = 0
    guard: Guard = Guard.ALWAYS
    emit: Emit = Emit.NOWHERE
    lane_exchange: int = 0
    slot_exchange: int = 0
    pair: int = 0
    word: int = 0
    displaced: bool = False
    constant: int = 0


@dataclass(frozen=True)
class Phase:
    """Operations that run once per strip, or with ``sweep`` once per round of its slots."""

    sweep: bool
    ops: tuple[LaneOp, ...]


@dataclass(frozen=True)
class LaneProgram:
    """Phases in order. A round has ``inputs`` FP16 operands (1, 2 or 4), a row ``words``.

    Words go by the rounds of a row, by strips, or, ``planar``, by all rounds, each kind apart; they
    leave as they came, word 0 with a copy in FP16.
    """

    name: str
    phases: tuple[Phase, ...]
    inputs: int
    words: int = 0
    by_strip: bool = False
    planar: bool = False

    @property
    def passes(self) -> int:
        """Lane operations per element."""
        return sum(len(phase.ops) for phase in self.phases if phase.sweep)

    @property
    def words_out(self) -> int:
        """FP32 words that leave a strip: 1 or 2."""
        return 1 + max(
            (op.word for p in self.phases for op in p.ops if op.emit is Emit.WORD), default=0
        )

    @property
    def row_passes(self) -> int:
        """Lane operations per row."""
        return sum(len(phase.ops) for phase in self.phases if not phase.sweep)


_MINUS_ZERO = 0x80000000


def _bits(value: float) -> int:
    return int(np.array(value, np.float32).view(np.uint32))


@dataclass(frozen=True, eq=False)
class Value:
    """A number that a program names: a register, an operand or a constant, maybe negated."""

    kernel: Kernel
    register: int = -1  # virtual
    code: int = -1
    bits: int = 0
    place: int = 0  # pair or word
    negate: bool = False
    absolute: bool = False

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


@dataclass
class _Op:
    kind: Kind
    sources: tuple[Value, Value, Value]
    target: int
    function: int = 0
    guard: Guard = Guard.ALWAYS
    emit: Emit = Emit.NOWHERE
    lane_exchange: int = 0
    slot_exchange: int = 0
    displacement: int | None = None
    word: int = 0


@dataclass
class Kernel:
    """Takes down the lane operations of a formula, and gives each value a register.

    ``inputs`` and ``words`` are how many the formula may ask for.
    """

    lanes: int = 4
    slots: int = 16
    over: Over = Over.EACH
    _phases: list[tuple[bool, list[_Op]]] = field(default_factory=list[tuple[bool, list[_Op]]])
    _count: int = 0
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
        made = self._do(Kind.FUNCTION, a, -0.0, -0.0)
        self._last.function = which
        return made

    def random(self) -> Value:
        """Uniform in [1, 2)."""
        return self._do(Kind.RANDOM, -0.0, -0.0, -0.0)

    def number(self) -> Value:
        """Slot times lanes, plus lane."""
        made = self._do(Kind.RANDOM, -0.0, -0.0, -0.0)
        self._last.function = 1
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

    def displace(self, rounds: int) -> None:
        """Let the last operation read its operands that many rounds on."""
        self._last.displacement = rounds

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
        other = self.copy(value)
        self._last.lane_exchange, self._last.slot_exchange = lane, slot
        return other

    def reduced(self, gathered: Value, how: Reduction = Reduction.SUM) -> Value:
        """What each lane of each slot has gathered, put together over the row."""
        for lane, slot in self.exchanges():
            if how is Reduction.LARGEST:
                gathered = self.max(gathered, gathered)
            elif how is Reduction.PRODUCT:
                gathered = self.mad(gathered, gathered, -0.0)
            else:
                gathered = self.mad(gathered, 1.0, gathered)
            self._last.lane_exchange, self._last.slot_exchange = lane, slot
        return gathered

    def first(self, value: Value, into: Value) -> None:
        """Put ``value`` into slot 0 of ``into``."""
        self.mad(value, 1.0, -0.0, into)
        self._last.guard = Guard.FIRST

    def emit(self, value: Value | float, where: Emit = Emit.HALF, word: int = 0) -> None:
        """Let a result leave, as ``word`` of its strip if it is one."""
        given = self._value(value)
        ops = self._phases[-1][1] if self._phases else []
        plain = given.register >= 0 and not (given.negate or given.absolute)
        if not (plain and ops and ops[-1].target == given.register and not ops[-1].emit):
            self.copy(given)
        self._last.emit, self._last.word = where, word

    def program(
        self, name: str, inputs: int, words: int = 0, by_strip: bool = False, planar: bool = False
    ) -> LaneProgram:
        """What was taken down.

        Raises:
            LaneError: more than eight live values, two constants or two pairs in one operation.
        """
        phases = [(sweep, ops) for sweep, ops in self._phases if ops]
        registers = _allocate(phases)
        done = tuple(
            Phase(sweep, tuple(_lane_op(name, op, registers) for op in ops))
            for sweep, ops in phases
        )
        width = {0: 1, 1: 1, 2: 2, 3: 4, 4: 4}[inputs]
        return LaneProgram(name, done, width, words, by_strip, planar)

    @property
    def _last(self) -> _Op:
        return self._phases[-1][1][-1]

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
    ) -> Value:
        if not self._phases:
            self._phases.append((self.over is Over.EACH, []))
        target = self._count if into is None else into.register
        self._count += into is None
        guard = Guard.INSIDE if into is not None and self._inside else Guard.ALWAYS
        sources = (self._value(a), self._value(b), self._value(c))
        if sources[1].absolute or sources[2].absolute:
            raise LaneError("only the first operand may be absolute")
        self._phases[-1][1].append(_Op(kind, sources, target, guard=guard))
        return Value(self, register=target)


def _allocate(phases: list[tuple[bool, list[_Op]]]) -> dict[int, int]:
    """Virtual registers to real ones; what a sweep reads from before it lives to its end."""
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    place = 0
    for sweep, ops in phases:
        start, end = place, place + len(ops)
        for op in ops:
            read = [source.register for source in op.sources if source.register >= 0]
            for register in read:
                before = begins[register] < start
                ends[register] = end if sweep and before else max(ends[register], place)
                if op.slot_exchange:
                    ends[register] = max(ends[register], place + 1)
            if op.target not in begins:
                begins[op.target] = ends[op.target] = place
            elif sweep and begins[op.target] < start:
                ends[op.target] = end
            else:
                ends[op.target] = max(ends[op.target], place)
            place += 1
    given: dict[int, int] = {}
    owners = [-1] * REGISTERS  # the value that each real register was last given to
    for register in sorted(begins, key=lambda r: begins[r]):
        free = (
            real
            for real, owner in enumerate(owners)
            if owner < 0 or ends[owner] <= begins[register]
        )
        real = next(free, None)
        if real is None:
            raise LaneError(f"more than {REGISTERS} values at once")
        given[register], owners[real] = real, register
    return given


def _lane_op(name: str, op: _Op, registers: dict[int, int]) -> LaneOp:
    constants = {source.bits for source in op.sources if source.code == CODES["constant"]}
    if op.displacement is not None:
        constants.add(op.displacement)
    pairs = {s.place for s in op.sources if s.code in (CODES["low"], CODES["high"])}
    words = {
        s.place
        for s in op.sources
        if s.code in (CODES["word"], CODES["word_low"], CODES["word_high"])
    }
    if op.emit is Emit.WORD:
        words.add(op.word)
    if len(constants) > 1 or len(pairs) > 1 or len(words) > 1:
        raise LaneError(f"{name}: an operation with two constants, pairs or words")
    a, b, c = (
        Source(
            registers[source.register] if source.register >= 0 else source.code,
            source.negate,
            source.absolute,
        )
        for source in op.sources
    )
    return LaneOp(
        op.kind,
        a,
        b,
        c,
        registers[op.target],
        op.function,
        op.guard,
        op.emit,
        op.lane_exchange,
        op.slot_exchange,
        pairs.pop() if pairs else 0,
        words.pop() if words else 0,
        op.displacement is not None,
        constants.pop() if constants else 0,
    )
