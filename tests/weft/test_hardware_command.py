"""``weft hardware``: the structure of a machine's Verilog."""

from __future__ import annotations

import re

import pytest

from weft.cli.hardware import show_structure
from weft.sim.machine import load_machine


def test_the_modules_of_a_machine_with_what_they_have(capsys: pytest.CaptureFixture[str]) -> None:
    show_structure("sat-4x8")
    lines = capsys.readouterr().out.splitlines()
    found: dict[str, tuple[int, int]] = {}
    for line in lines[1:]:
        name, count, multipliers, *_ = line.split()
        before, _ = found.get(name, (0, 0))
        found[name] = before + int(count), int(multipliers)
    array = load_machine("sat-4x8").array
    assert lines[0].split()[:4] == ["module", "count", "mult", "add"]
    assert found["uspe"] == (array.rows * array.cols, 1)
    assert found["stce"][1] == array.rows * array.cols
    # Each lane begins its random numbers elsewhere, so each is a module of its own.
    assert found["wuve_lane"][0] == load_machine("sat-4x8").wuve.lanes
    assert re.match(r"sat_top +1 ", lines[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "needs a machine"),
        ("h100-sxm", "is a GPU"),
        ("sat-vcu1525", "write_bytes_per_cycle = 128; the Verilog needs 4 to 64"),
    ],
)
def test_what_has_no_verilog_says_why(name: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        show_structure(name)
