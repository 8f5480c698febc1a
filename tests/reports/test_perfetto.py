"""The trace has the format's fields, tracks without overlap, and counters that add up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reports.runs import big_run
from tests.reports.slices import BANKS, MACHINE, big_program, big_slices
from tests.sim.programs import TINY, programs
from weft.reports.counters import (
    Level,
    banks_in_use,
    dram_levels,
    levels,
    pieces,
    power_levels,
)
from weft.reports.entries import entry_of
from weft.reports.perfetto import read_trace, render_trace
from weft.reports.writing import ReportError
from weft.sim.energy import energy_of, load_energy_table
from weft.sim.energy.actions import ActionCounter
from weft.sim.engine import Engine, Slice
from weft.sim.program import Program, Queue, Transfer

RELAXED = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def whole(program: Program, limit: int = 3000) -> list[Slice]:
    return Engine(TINY).timeline(program, 0, len(program.segments), limit)


def events(slices: Sequence[Slice], **more: Any) -> list[dict[str, Any]]:
    return json.loads(render_trace(big_run(1, 1), slices, **more))["traceEvents"]


@RELAXED
@given(program=programs())
def test_every_event_has_what_the_format_needs(program: Program) -> None:
    slices = whole(program)
    found = events(slices)
    for event in found:
        assert event["ph"] in ("M", "X", "C")
        assert isinstance(event["name"], str)
        assert type(event["pid"]) is int
        assert type(event["tid"]) is int
        if event["ph"] != "M":
            assert type(event["ts"]) is int
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert type(event["dur"]) is int
            assert event["dur"] >= 0
            assert {"layer", "stage", "finish"} <= set(event["args"])
        if event["ph"] == "C":
            assert all(isinstance(value, float | int) for value in event["args"].values())
    assert [e["ts"] for e in found if e["ph"] == "X"] == [part.start for part in slices]


@RELAXED
@given(program=programs())
def test_instructions_of_a_track_never_overlap(program: Program) -> None:
    found = [event for event in events(whole(program)) if event["ph"] == "X"]
    for track in {event["tid"] for event in found}:
        own = sorted(
            (event["ts"], event["ts"] + event["dur"]) for event in found if event["tid"] == track
        )
        for (_, end), (start, _) in pairwise(own):
            assert end <= start


@RELAXED
@given(program=programs())
def test_a_trace_tells_all_that_the_timeline_had(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    slices = whole(program)
    path = tmp_path_factory.mktemp("trace") / "trace.perfetto.json"
    path.write_text(render_trace(big_run(1, 1), slices))
    assert read_trace(path) == [entry_of(part) for part in slices]


def test_no_trace_is_no_timeline(tmp_path: Path) -> None:
    assert read_trace(tmp_path / "trace.perfetto.json") == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"finish"', '"end"'),
        lambda text: text.replace('"tid":1', '"tid":99'),
        lambda text: text.replace('"stall_cause":"', '"stall_cause":"<b>'),
    ],
)
def test_a_damaged_trace_is_told(change: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / "trace.perfetto.json"
    path.write_text(change(render_trace(big_run(1, 1), big_slices(200))))
    with pytest.raises(ReportError, match=r"cannot read .*trace\.perfetto\.json"):
        read_trace(path)


def test_tracks_are_named_for_the_units() -> None:
    names = {e["tid"]: e["args"]["name"] for e in events([]) if e["name"] == "thread_name"}
    assert names == {int(queue) + 1: queue.name.lower() for queue in Queue}


def test_an_instruction_says_what_it_does() -> None:
    found = [event for event in events(big_slices(400)) if event["ph"] == "X"]
    load = found[0]
    assert load["name"] == "load left"
    assert load["cat"] == "ff"
    assert load["args"] == {
        "layer": "block0.conv",
        "stage": "ff",
        "finish": 64 * 2 + 40,
        "bytes": 64 * 512,
        "tensor": "x<1>",
    }
    matmul = next(event for event in found if event["name"] == "matmul OS 2:8")
    assert matmul["args"]["tile"] == "1x64x256x64"
    assert matmul["args"]["stall_cause"] == "memory"
    assert matmul["args"]["stall_cycles"] > 0


def test_the_size_is_bounded() -> None:
    trace = render_trace(big_run(1, 1), big_slices(20_000), limit=5000)
    found = json.loads(trace)["traceEvents"]
    assert sum(event["ph"] == "X" for event in found) == 5000
    assert sum(event["ph"] == "C" for event in found) <= 2000 * (2 + 5 + 1)
    assert len(trace) < 3_000_000
    assert json.loads(trace)["otherData"]["instructions"] == "5000 of 20000 in the window"


def integral(points: Sequence[Level]) -> float:
    return sum(level * (end - cycle) for (cycle, level), (end, _) in pairwise(points))


CHANGES = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 50), st.floats(0, 100)), min_size=1, max_size=40
)


@given(pulses=CHANGES, most=st.integers(2, 30))
def test_levels_keep_the_area_under_them(pulses: list[tuple[int, int, float]], most: int) -> None:
    changes = [
        change
        for start, width, height in pulses
        for change in ((start, height), (start + width, -height))
    ]
    area = sum(width * height for _, width, height in pulses)
    exact, averaged = levels(changes, 10_000), levels(changes, most)
    assert integral(exact) == pytest.approx(area, abs=1e-6)
    assert integral(averaged) == pytest.approx(area, abs=1e-6)
    assert len(averaged) <= most
    assert exact[-1][1] == pytest.approx(0, abs=1e-9)


@RELAXED
@given(program=programs())
def test_dram_counters_tell_all_bytes(program: Program) -> None:
    slices = whole(program)
    found = dram_levels(slices)
    for side, queue in (("read", Queue.LOAD), ("write", Queue.STORE)):
        moved = sum(
            part.instruction.work.bytes
            for part in slices
            if part.instruction.queue is queue and isinstance(part.instruction.work, Transfer)
        )
        assert integral(found[side]) == pytest.approx(moved)


def test_power_tells_all_energy() -> None:
    slices = big_slices(3000)
    table = load_energy_table(MACHINE.technology)
    counter = ActionCounter(MACHINE)
    joules = sum(
        energy_of(counter.instruction(part.instruction), 0.0, table).total_j for part in slices
    )
    end = max(part.occupied_until for part in slices)
    joules += table.value("static") * end / MACHINE.clock_hz
    points = power_levels(slices, MACHINE)
    assert integral(points) / MACHINE.clock_hz == pytest.approx(joules)


def test_banks_in_use_stay_within_the_banks() -> None:
    found = banks_in_use(big_slices(4000))
    assert set(found) == {"left", "right", "output", "vector in", "vector out"}
    for points in found.values():
        assert min(level for _, level in points) >= 0
        assert 1 < max(level for _, level in points) <= BANKS


def test_gaps_in_a_window_are_seen() -> None:
    program = big_program()
    engine = Engine(MACHINE)
    assert pieces(engine.timeline(program, 0, 4, 10_000)) == 1
    apart = engine.timeline(program, 0, 1, 100) + engine.timeline(program, 6, 7, 100)
    assert pieces(apart) == 2
    assert not any(event["name"].startswith("banks in use") for event in events(apart))
    assert pieces([]) == 0
