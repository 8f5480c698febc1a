"""Waveforms: the FST says what the VCD says, change by change."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weft.rtl.cosimulation.cosim import random_case
from weft.rtl.cosimulation.simulate import simulate
from weft.rtl.cosimulation.waveform import WaveformError, check_waveform, vcd_to_fst
from weft.sim.machine import load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import Dataflow

pylibfst = pytest.importorskip("pylibfst", reason="no pylibfst for this Python")

Changes = dict[str, list[tuple[int, str]]]
"""By full name: times and the values that a variable takes then."""


def of_fst(path: Path) -> Changes:
    reader = pylibfst.lib.fstReaderOpen(str(path).encode())
    assert reader != pylibfst.ffi.NULL
    signals = pylibfst.get_scopes_signals2(reader)[1].by_name
    pylibfst.lib.fstReaderSetFacProcessMaskAll(reader)
    by_handle: dict[int, list[tuple[int, str]]] = defaultdict(list)

    def take(_: object, time: int, handle: int, value: object) -> None:
        by_handle[handle].append((time, pylibfst.string(value)))

    pylibfst.fstReaderIterBlocks(reader, take)
    pylibfst.lib.fstReaderClose(reader)
    return {name: _settled(by_handle[signal.handle]) for name, signal in signals.items()}


def of_vcd(path: Path) -> Changes:
    """Read once more, by regular expressions."""
    text = path.read_text()
    head, body = text.split("$enddefinitions", 1)
    scopes: list[str] = []
    names: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for match in re.finditer(
        r"\$scope \w+ (\S+) \$end|(\$upscope)|\$var +\w+ +(\d+) +(\S+) (.*?) \$end", head
    ):
        if match[1]:
            scopes.append(match[1])
        elif match[2]:
            scopes.pop()
        else:
            names[match[4]].append((".".join([*scopes, match[5]]), int(match[3])))
    found: Changes = {name: [] for many in names.values() for name, _ in many}
    time = 0
    for match in re.finditer(r"^(?:#(\d+)|b([01xz]+) (\S+)|([01xz])(\S+))$", body, re.MULTILINE):
        if match[1]:
            time = int(match[1])
            continue
        value, code = (match[2], match[3]) if match[3] else (match[4], match[5])
        for name, bits in names[code]:
            found[name].append((time, value.rjust(bits, "0")))
    return {name: _settled(changes) for name, changes in found.items()}


def _settled(changes: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """The last value at each time, where it is another one than before."""
    last = dict(changes)
    settled: list[tuple[int, str]] = []
    for time, value in last.items():
        if not settled or settled[-1][1] != value:
            settled.append((time, value))
    return settled


def test_a_run_in_both_formats(tmp_path: Path) -> None:
    machine = load_machine("sat-4x4")
    case = random_case(machine, (9, 16, 10), Pattern.parse("2:8"), Dataflow.OS, 3)
    plain, packed = tmp_path / "run.vcd", tmp_path / "run.fst"
    for path in (plain, packed):
        (run,) = simulate(machine, [case], wave=path)
        assert run.cycles > 0
    changes = of_vcd(plain)
    assert packed.stat().st_size < plain.stat().st_size / 5
    assert len(changes) > 1000
    assert any(len(values) > run.cycles for values in changes.values())
    # Each run has a scratch folder of its own, whose name the bench holds.
    paths = {name for name in changes if name.startswith(("cosim_top.folder", "cosim_top.name"))}
    again = of_fst(packed)
    assert len(paths) == 2
    assert {k: v for k, v in again.items() if k not in paths} == {
        k: v for k, v in changes.items() if k not in paths
    }


CODES = ["!", "#", "b", "0", "1x", "$q", "~~"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    bits=st.lists(st.integers(1, 70), min_size=1, max_size=len(CODES)),
    steps=st.lists(
        st.tuples(st.integers(1, 1000), st.lists(st.integers(0, 1 << 70), max_size=9)), max_size=30
    ),
)
def test_any_values_of_any_width(
    tmp_path: Path, bits: list[int], steps: list[tuple[int, list[int]]]
) -> None:
    lines = ["$timescale 1ps $end", "$scope module top $end", "$scope module inner $end"]
    for place, width in enumerate(bits):
        lines.append(f"$var wire {width} {CODES[place]} v{place} [{width - 1}:0] $end")
    lines += ["$upscope $end", f"$var wire {bits[0]} {CODES[0]} alias $end", "$upscope $end"]
    lines += ["$enddefinitions $end", "#0"]
    lines += [_line(0, width, CODES[place]) for place, width in enumerate(bits)]
    time = 0
    for ahead, values in steps:
        time += ahead
        lines.append(f"#{time}")
        for place, value in enumerate(values[: len(bits)]):
            lines.append(_line(value % (1 << bits[place]), bits[place], CODES[place]))
    source, target = tmp_path / "some.vcd", tmp_path / "some.fst"
    source.write_text("\n".join(lines) + "\n")
    vcd_to_fst(source, target)
    assert of_fst(target) == of_vcd(source)


def _line(value: int, width: int, code: str) -> str:
    return f"{value}{code}" if width == 1 else f"b{value:0{width}b} {code}"


def test_what_cannot_be_written_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "folder.vcd").mkdir()
    for name, message in (
        ("run.txt", r"ends in \.vcd or \.fst"),
        ("missing/run.vcd", "no folder"),
        ("folder.vcd", "is a folder"),
    ):
        with pytest.raises(WaveformError, match=message):
            check_waveform(tmp_path / name)


def test_a_file_that_is_no_vcd_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "some.vcd"
    source.write_text("nothing\n")
    with pytest.raises(WaveformError, match="end of its definitions"):
        vcd_to_fst(source, tmp_path / "some.fst")
