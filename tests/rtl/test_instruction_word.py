"""The instruction word: one table, with assembler, Verilog and page generated from it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.rtl.hardware import VERILOG
from weft.rtl.hardware.instruction_word import (
    BODY,
    COMMON,
    KINDS,
    LANE_OPERATION,
    PAGE,
    WORD_BITS,
    WORDS,
    Field,
    FieldError,
    Layout,
    fields_in,
    page_text,
)

LAYOUTS = (COMMON, LANE_OPERATION, *WORDS.values())


def test_the_verilog_and_the_page_are_as_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text()
    regions = 0
    for path in sorted(VERILOG.glob("*.v")):
        text = path.read_text(encoding="utf-8")
        assert fields_in(text) == text, path.name
        regions += text.count("(instruction_word.py):")
    assert regions >= len(WORDS) + 4


@pytest.mark.parametrize("vector", ["word", "head", "stce_word", "sore_head", "wuve_head"])
def test_no_word_is_sliced_by_hand(vector: str) -> None:
    for name in ("queue", "load_unit", "store_unit", "sat_top"):
        text = (VERILOG / f"{name}.v").read_text(encoding="utf-8")
        generated = re.compile(rf"^ *wire .* = {vector}\[\d+(?:\+:\d+)?\];.*\n", re.MULTILINE)
        regions = re.findall(r"^ *// Fields of .*\n(?: *wire .*\n)+", text, re.MULTILINE)
        inside = sum(len(generated.findall(region)) for region in regions)
        assert len(re.findall(rf"\b{vector}\[\d", text)) == inside, (name, vector)


@given(st.data())
def test_every_field_comes_back_and_touches_no_other(data: st.DataObject) -> None:
    layout = data.draw(st.sampled_from(LAYOUTS))
    values = {f.name: data.draw(st.integers(0, (1 << f.bits) - 1)) for f in layout.fields}
    word = layout.pack(values)
    assert layout.unpack(word) == values
    assert word >> layout.end == 0
    assert word & ((1 << layout.first) - 1) == 0


def test_words_have_room() -> None:
    assert COMMON.end <= BODY
    assert all(layout.first == BODY and layout.bits == WORD_BITS for layout in WORDS.values())
    assert max(KINDS.values()) < 1 << COMMON.places["kind"][1].bits
    assert set(WORDS) == set(KINDS) - {"END", "SYNC"}
    assert LANE_OPERATION.end == LANE_OPERATION.bits


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(FieldError, match=r"MATMUL.n_keep = 32 does not fit 5 bits"):
        WORDS["MATMUL"].pack({"n_keep": 32})
    with pytest.raises(FieldError, match="REDUCE has no field 'steps'; it has rounds"):
        WORDS["REDUCE"].pack({"steps": 1})
    with pytest.raises(FieldError, match="X has a field twice: a, a"):
        Layout("X", (Field("a", 1), Field("a", 1)), 0, 8)
    with pytest.raises(FieldError, match="X ends at bit 9; a word has 8"):
        Layout("X", (Field("a", 9),), 0, 8)
    with pytest.raises(FieldError, match="TRANSFER has no field 'none'"):
        fields_in("// Fields of TRANSFER in word (instruction_word.py):\nwire [3:0] none = 0;\n")
    with pytest.raises(FieldError, match="load_buffer has no value 'NONE'; it has LEFT"):
        fields_in("// Values of load_buffer (instruction_word.py):\nlocalparam NONE = 0;\n")


def test_a_change_of_the_table_reaches_the_verilog() -> None:
    old = "// Fields of REDUCE in w, r_* (instruction_word.py):\n    wire r_rounds = w[1];\n"
    assert "wire [23:0] r_rounds = w[48+:24];" in fields_in(old)
