"""The layout of instruction words and lane operations: this table is the only place that has it.

Each field follows the one before it without a gap; so one is added, widened or moved here alone.
The assembler packs by names. ``python -m weft.rtl.hardware.instruction_word`` writes WORDS.md and
the slices in the Verilog anew (regions from ``// Fields of`` or ``// Values of`` to the next line
that is no wire or localparam; their names stay). A test holds all against each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from weft.rtl.hardware import VERILOG
from weft.sim.program import Channel

__all__ = [
    "BODY",
    "COMMON",
    "KINDS",
    "LANE_OPERATION",
    "LOAD_BUFFERS",
    "PAGE",
    "STORE_BUFFERS",
    "WORDS",
    "WORD_BITS",
    "Field",
    "FieldError",
    "Layout",
    "fields_in",
    "page_text",
]

WORD_BITS = 256
BODY = 48
"""First bit of what depends on the kind of word."""

PAGE = VERILOG / "WORDS.md"


class FieldError(ValueError):
    """A value that does not fit its field, or a field that is not there."""


@dataclass(frozen=True)
class Field:
    """A field: its name in the Verilog and in the assembler, its bits, what it says."""

    name: str
    bits: int
    says: str = ""


@dataclass(frozen=True)
class Layout:
    """Fields from bit ``first`` on, each behind the one before it, within ``bits`` bits."""

    name: str
    fields: tuple[Field, ...]
    first: int
    bits: int

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names):
            raise FieldError(f"{self.name} has a field twice: {', '.join(names)}")
        if self.end > self.bits:
            raise FieldError(f"{self.name} ends at bit {self.end}; a word has {self.bits}")

    @property
    def end(self) -> int:
        """The bit after the last field."""
        return self.first + sum(field.bits for field in self.fields)

    @cached_property
    def places(self) -> dict[str, tuple[int, Field]]:
        """First bit and field, by name."""
        starts = accumulate((field.bits for field in self.fields), initial=self.first)
        return {f.name: (start, f) for f, start in zip(self.fields, starts, strict=False)}

    def pack(self, values: Mapping[str, int]) -> int:
        """A word with these fields set and the others 0.

        Raises:
            FieldError: an unknown field, or a value that does not fit.
        """
        places, word = self.places, 0
        for name, value in values.items():
            if name not in places:
                raise FieldError(f"{self.name} has no field {name!r}; it has {', '.join(places)}")
            start, field = places[name]
            if not 0 <= value < 1 << field.bits:
                raise FieldError(f"{self.name}.{name} = {value} does not fit {field.bits} bits")
            word |= value << start
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """The fields of a word."""
        return {
            name: word >> start & (1 << field.bits) - 1
            for name, (start, field) in self.places.items()
        }


KINDS = {"END": 0, "SYNC": 1, "TRANSFER": 2, "MATMUL": 3, "REDUCE": 4, "VECTOR": 5}
"""Of words; an update is a VECTOR."""

LOAD_BUFFERS = {"left": 0, "right": 1, **{f"right_index{bit}": 2 + bit for bit in range(4)}}
LOAD_BUFFERS |= {"mask": 6, "vector": 7, "vector_half": 8}
STORE_BUFFERS = {"output": 0, "vector": 1, "mask": 2}
STORE_BUFFERS |= {**{f"mask_index{bit}": 3 + bit for bit in range(4)}, "vector_half": 7}

COMMON = Layout(
    "COMMON",
    (
        Field("kind", 3, "of word, see below"),
        Field("starts", 1, "first word of its instruction: its start is traced"),
        Field("ends", 1, "last word of its instruction: its finish is traced"),
        Field("waits", len(Channel), "channels that it takes a token from, by their number"),
        Field("signals", len(Channel), "channels that it gives a token to"),
    ),
    0,
    BODY,
)
"""Fields of every word."""


def _body(name: str, *fields: Field) -> Layout:
    return Layout(name, fields, BODY, WORD_BITS)


WORDS = {
    "TRANSFER": _body(
        "TRANSFER",
        Field("address", 40, "bytes, of the first run"),
        Field("stride", 32, "bytes from run to run"),
        Field("runs", 20),
        Field("run_beats", 20, "of a run"),
        Field("tail_bytes", 8, "in a run's last beat, 0: all; store only"),
        Field("buffer", 4, "of a load or store, see below"),
        Field("beat", 24, "first in the buffer, bank included"),
        Field("beat_stride", 24, "beats from run to run in the buffer"),
        Field("narrow", 1, "FP32 to FP16, a beat in the buffer is then two wide; store only"),
        Field("chunk_beats", 11, "contiguous in the bank, 0: the whole run; store only"),
        Field("chunk_stride", 24, "beats from one contiguous part to the next; store only"),
    ),
    "MATMUL": _body(
        "MATMUL",
        Field("weight_stationary", 1),
        Field("accumulate", 1, "onto what the output bank holds"),
        Field("n_keep", 5, "N"),
        Field("m_group", 4, "M, 16 as 0: such a word holds one group"),
        Field("group_shift", 3, "log2 of the groups in a left word"),
        Field("steps", 16, "OS: N times groups; WS: N"),
        Field("vectors", 16, "WS: rows of the left operand"),
        Field("row_passes", 16),
        Field("column_passes", 16),
        Field("left_step", 16, "left words between row passes"),
        Field("left_base", 24, "first word"),
        Field("right_base", 24, "first word"),
        Field("out_base", 24, "first word"),
        Field("index_planes", 4, "in use"),
    ),
    "REDUCE": _body(
        "REDUCE",
        Field("rounds", 24),
        Field("pattern_m", 5, "M"),
        Field("pattern_n", 4, "N"),
        Field("across", 1, "groups run across rows"),
        Field("inner_words", 16, "of a row"),
        Field("from_wuve", 1, "source, 0: mask bank, 1: FP16 weights in the vector output bank"),
        Field("source_base", 24, "first source word"),
        Field("slot_base", 24, "first slot"),
    ),
    "VECTOR": _body(
        "VECTOR",
        Field("strips", 16, "at least 1"),
        Field("width", 16, "rounds of a slot in a sweep, at least 1"),
        Field("planar", 1, "words go by rounds, each kind apart; word 0 leaves as FP16 too"),
        Field("limit", 2, "slots are limited in, 0: the last strip, 1: the last step, 2: all"),
        Field("bank_in", 4),
        Field("bank_out", 4),
        Field("fused", 1, "on an output bank of the STCE"),
        Field("inputs", 2, "log2 of the operands of a round"),
        Field("strip_stride", 24, "rounds"),
        Field("slot_stride", 24, "rounds"),
        Field("stride", 24, "rounds from step to step"),
        Field("used", 7, "slots in use where they are limited"),
        Field("tail", 9, "lanes in use in a row's last round"),
        Field("first", 12, "lane operation"),
        Field("words", 2, "log2 of the words of a row"),
        Field("by_strip", 1, "words go by strips"),
        Field("two_out", 1, "two words leave per strip"),
        Field("fused_base", 24, "first round of outputs"),
        Field("rounds", 24, "of words that go by them"),
    ),
}
"""What follows ``COMMON``, by kind; END and SYNC have nothing more."""

LANE_OPERATION = Layout(
    "LANE_OPERATION",
    (
        Field("kind", 3),
        Field("function", 3),
        Field("target", 3, "register"),
        Field("writes", 1, "its target"),
        Field("guard", 2),
        Field("a", 4, "source"),
        Field("b", 4, "source"),
        Field("c", 4, "source"),
        Field("negate_a", 1),
        Field("negate_b", 1),
        Field("negate_c", 1),
        Field("absolute_a", 1),
        Field("lane_exchange", 4),
        Field("slot_exchange", 3),
        Field("pair", 1),
        Field("word", 2),
        Field("emit", 2),
        Field("displaced", 1),
        Field("ends", 1, "a phase"),
        Field("sweeps", 1, "the phase is one of a sweep"),
        Field("halts", 1, "the program"),
        Field("constant", 32, "or, where displaced, the displacement in its low bits"),
    ),
    0,
    76,
)
"""Of WUVE; they lie in a memory of their own. ``weft.sim.lanes`` says what they mean."""

VALUES = {"kind": (3, KINDS), "load_buffer": (4, LOAD_BUFFERS), "store_buffer": (4, STORE_BUFFERS)}

_LAYOUTS = {
    "COMMON": COMMON.places,
    "LANE_OPERATION": LANE_OPERATION.places,
    **{kind: COMMON.places | layout.places for kind, layout in WORDS.items()},
}
"""What a region in the Verilog may name."""

_REGION = re.compile(
    r"(?P<head>^ *// (?P<what>Fields|Values) of (?P<of>\w+)(?: in (?P<vector>\w+))?"
    r"(?:, (?P<prefix>\w+)\*)? \(instruction_word\.py\):\n)"
    r"(?P<body>(?: *(?:wire|localparam) .*\n)+)",
    re.MULTILINE,
)
_NAME = re.compile(r"^ *(?:wire|localparam) *(?:\[[^]]*\])? *(\w+)")


def fields_in(text: str) -> str:
    """Verilog with every region of fields and values as the table says; names stay, in order.

    Raises:
        FieldError: a name that the table does not have.
    """
    return _REGION.sub(_region, text)


def _region(match: re.Match[str]) -> str:
    indent = re.match(" *", match["head"])
    names = [_name_of(line) for line in match["body"].splitlines()]
    prefix = match["prefix"] or ""
    if match["what"] == "Values":
        lines = [_value(match["of"], name, prefix) for name in names]
    else:
        lines = [_slice(match["of"], name, prefix, match["vector"]) for name in names]
    space = indent[0] if indent else ""
    return match["head"] + "".join(f"{space}{line}\n" for line in lines)


def _name_of(line: str) -> str:
    found = _NAME.match(line)
    if found is None:
        raise FieldError(f"no name in {line.strip()!r}")
    return found[1]


def _value(of: str, name: str, prefix: str) -> str:
    bits, values = VALUES[of]
    key = name.removeprefix(prefix)
    known = {word.upper(): value for word, value in values.items()}
    if key not in known:
        raise FieldError(f"{of} has no value {key!r}; it has {', '.join(known)}")
    return f"localparam [{bits - 1}:0] {name} = {bits}'d{known[key]};"


def _slice(of: str, name: str, prefix: str, vector: str) -> str:
    places = _LAYOUTS[of]
    key = name.removeprefix(prefix)
    if key not in places:
        raise FieldError(f"{of} has no field {key!r}; it has {', '.join(places)}")
    start, field = places[key]
    width = f"[{field.bits - 1}:0]" if field.bits > 1 else ""
    bits = f"{start}+:{field.bits}" if field.bits > 1 else f"{start}"
    says = f"  // {field.says}" if field.says else ""
    return f"wire {width:>6} {name} = {vector}[{bits}];{says}"


def _table(layout: Layout) -> list[str]:
    rows = [
        f"| {name} | {start} | {field.bits} | {field.says} |"
        for name, (start, field) in layout.places.items()
    ]
    return ["| field | first bit | bits | |", "|---|---:|---:|---|", *rows, ""]


def _list(values: Mapping[str, int]) -> str:
    return ", ".join(f"{value} {name}" for name, value in values.items())


def page_text() -> str:
    """WORDS.md."""
    lines = [
        "# Instruction words",
        "",
        "Written by `instruction_word.py`; do not edit. Each queue is a stream of words of "
        f"{WORD_BITS} bits that ends with END.",
        "Addresses on chip count the words or beats that the unit's port has. A transfer of",
        "several (count, bytes) runs is one word for each; they follow each other without a gap.",
        "",
        "## Every word",
        "",
        *_table(COMMON),
        f"Kinds: {_list(KINDS)}. An update is a VECTOR.",
        f"Buffers of a load: {_list(LOAD_BUFFERS)}.",
        f"Buffers of a store: {_list(STORE_BUFFERS)}.",
        "",
    ]
    for name, layout in WORDS.items():
        lines += [f"## {name}", "", *_table(layout)]
    lines += [
        "## Lane operation",
        "",
        f"{LANE_OPERATION.bits} bits, written by the host as queue 5; `weft.sim.lanes` says what "
        "they mean.",
        "",
        *_table(LANE_OPERATION),
    ]
    return "\n".join(lines)


def _write() -> None:
    PAGE.write_text(page_text(), encoding="utf-8")
    for path in VERILOG.glob("*.v"):
        old = path.read_text(encoding="utf-8")
        if (new := fields_in(old)) != old:
            path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    _write()
