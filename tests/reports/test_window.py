"""A window shows what the whole timeline has there, and says what is wrong with a bad one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reports.slices import MACHINE, big_program
from tests.sim.programs import TINY, programs
from weft.reports.counters import pieces
from weft.reports.entries import entry_of
from weft.reports.window import Window, parse_window, window_entries, window_slices
from weft.sim.engine import Engine
from weft.sim.program import Program

RELAXED = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
ALL = 10**6


@RELAXED
@given(program=programs(most=20), data=st.data())
def test_cycles_are_those_of_the_whole_timeline(program: Program, data: st.DataObject) -> None:
    engine = Engine(TINY)
    end = engine.run(program).cycles
    begin = data.draw(st.integers(0, max(0, end - 1)))
    stop = data.draw(st.integers(begin + 1, end + 10))
    everything = engine.timeline(program, 0, len(program.segments), ALL)
    wanted = [part for part in everything if part.occupied_until > begin and part.start < stop]
    if begin < end:
        assert window_slices(engine, program, Window(cycles=(begin, stop)), ALL) == wanted


@pytest.mark.parametrize("text", ["layer=block0.conv", "layer=block0:ff", "cycles=2000:4000"])
def test_a_window_of_what_a_run_folder_holds(text: str) -> None:
    program = big_program()
    engine = Engine(MACHINE)
    window = parse_window(text)
    held = [entry_of(part) for part in window_slices(engine, program, None, 3000)]
    wanted = [entry_of(part) for part in window_slices(engine, program, window, ALL)]
    found = window_entries(held, window)
    assert found
    assert found == [entry for entry in wanted if entry in held]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("block3.conv", ["block3.conv:ff", "block3.conv:bp"]),
        ("block3.conv:bp", ["block3.conv:bp"]),
        ("block3:bp", ["block3.conv:bp", "block3.bn:bp"]),
        ("block3", ["block3.conv:ff", "block3.bn:ff", "block3.conv:bp", "block3.bn:bp"]),
    ],
)
def test_a_layer_and_what_is_below_it(layer: str, expected: list[str]) -> None:
    engine, program = Engine(MACHINE), big_program()
    found = window_slices(engine, program, Window(layer=layer), ALL)
    everything = engine.timeline(program, 0, len(program.segments), ALL)
    assert found == [part for part in everything if part.segment in expected]
    assert list(dict.fromkeys(part.segment for part in found)) == expected


@pytest.mark.parametrize("text", ["samples", "layer=block3", "cycles=1000:90000"])
def test_windows_keep_their_limit(text: str) -> None:
    found = window_slices(Engine(MACHINE), big_program(), parse_window(text), 300)
    assert 200 < len(found) <= 300


def test_samples_reach_over_the_whole_run() -> None:
    program = big_program()
    found = window_slices(Engine(MACHINE), program, Window(), 640)
    assert {part.segment for part in found} == {segment.name for segment in program.segments}
    assert pieces(found) > 1


def test_without_a_window_the_run_is_shown_from_its_start() -> None:
    engine, program = Engine(MACHINE), big_program()
    assert window_slices(engine, program, None, 50) == engine.timeline(program, 0, 9, 50)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("layer=stem.0", Window(layer="stem.0")),
        ("layer=a=b:ff", Window(layer="a=b:ff")),
        ("cycles=0:1", Window(cycles=(0, 1))),
        ("samples", Window()),
    ],
)
def test_windows_that_can_be_read(text: str, window: Window) -> None:
    assert parse_window(text) == window


@pytest.mark.parametrize("text", ["", "layer=", "layer", "cycles=5:5", "cycles=-1:4", "x=1:2"])
def test_windows_that_cannot(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: layer=NAME"):
        parse_window(text)


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(
        ValueError, match=r"no layer is called 'block3\.cov'; nearest: block3\.conv"
    ):
        window_slices(Engine(MACHINE), big_program(), Window(layer="block3.cov"), 10)


def test_cycles_after_the_end() -> None:
    with pytest.raises(ValueError, match="begins after the run's"):
        window_slices(Engine(MACHINE), big_program(), Window(cycles=(10**12, 10**12 + 1)), 10)
