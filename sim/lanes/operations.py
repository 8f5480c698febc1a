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

from dataclasses import dataclass
from enum import IntEnum, StrEnum

__all__ = [
    "CODES",
    "REGISTERS",
    "Emit",
    "Guard",
    "Kind",
    "LaneError",
    "LaneOp",
    "LaneProgram",
    "Over",
    "Phase",
    "Reduction",
    "Source",
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
    target: int
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
