"""Detailed DRAM: the recurrences against a controller stepped clock by clock."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from weft.sim.dram import Dram, DramError, dram_names, load_dram, parse_dram, stream_clocks

TIMES = st.integers(1, 24)


@st.composite
def drams(draw: st.DrawFn) -> Dram:
    groups = draw(st.sampled_from([1, 2, 4]))
    burst_clocks = draw(st.integers(1, 4))
    return Dram(
        name="any",
        summary="",
        clock_hz=1e9,
        channels=draw(st.integers(1, 4)),
        burst_bytes=64,
        burst_clocks=burst_clocks,
        bank_groups=groups,
        banks_per_group=draw(st.integers(1, 4)),
        row_bytes=64 * draw(st.integers(1, 8)),
        act_to_column=draw(TIMES),
        precharge=draw(TIMES),
        act_to_precharge=draw(TIMES),
        act_to_act=draw(st.integers(1, 6)),
        four_acts=draw(st.integers(1, 40)),
        column_to_column=draw(st.integers(1, groups * burst_clocks)),
        read_to_precharge=draw(TIMES),
        write_to_precharge=draw(TIMES),
        read_to_write_lost=draw(TIMES),
        write_to_read_lost=draw(TIMES),
        refresh=100,
        refresh_interval=1000,
        batch_bursts=draw(st.integers(1, 64)),
        lookahead_bursts=draw(st.integers(1, 40)),
    )


@dataclasses.dataclass
class Row:
    """A row to open: its place in the turn of the banks, and the bursts it serves."""

    bank: int
    bursts: list[int]
    opened: int | None = None
    closed: int | None = None


def rows_of(dram: Dram, runs: tuple[tuple[int, int], ...]) -> list[Row]:
    """Every row that the runs open, in order."""
    banks = dram.bank_groups * dram.banks_per_group
    together = dram.bank_groups * (dram.row_bytes // dram.burst_bytes)
    found: list[Row] = []
    burst = 0
    for count, size in runs:
        for _ in range(count):
            left = -(-size // dram.block_bytes)
            while left:
                now = min(left, together)
                groups = min(now, dram.bank_groups)
                served = [list(range(burst + g, burst + now, groups)) for g in range(groups)]
                found += [Row((len(found) + g) % banks, own) for g, own in enumerate(served)]
                burst += now
                left -= now
    return found


def step_clocks(dram: Dram, runs: tuple[tuple[int, int], ...], write: bool) -> int:
    """One command queue, one clock at a time, every constraint checked where it is used."""
    rows = rows_of(dram, runs)
    row_of = {burst: row for row in rows for burst in row.bursts}
    close_after = dram.write_to_precharge if write else dram.read_to_precharge
    acts: list[int] = []
    columns: list[int] = []
    group_last: dict[int, int] = {}
    bank_free: dict[int, int] = {}
    clock = 0
    while len(columns) < len(row_of):
        row = row_of[len(columns)]
        group = row.bank % dram.bank_groups
        ready = row.opened is not None and clock >= row.opened + dram.act_to_column
        bus = not columns or clock >= columns[-1] + dram.burst_clocks
        apart = clock >= group_last.get(group, clock - 1000) + dram.column_to_column
        if ready and bus and apart:
            columns.append(clock)
            group_last[group] = clock
            if row.bursts[-1] == len(columns) - 1:
                assert row.opened is not None
                row.closed = max(row.opened + dram.act_to_precharge, clock + close_after)
                bank_free[row.bank] = row.closed + dram.precharge
        if len(acts) < len(rows):
            following = rows[len(acts)]
            users = [earlier for earlier in rows[: len(acts)] if earlier.bank == following.bank]
            free = not users or (
                users[-1].closed is not None and clock >= bank_free[following.bank]
            )
            spaced = not acts or clock >= acts[-1] + dram.act_to_act
            window = len(acts) < 4 or clock >= acts[-4] + dram.four_acts
            queued = following.bursts[0] - dram.lookahead_bursts < len(columns)
            if free and spaced and window and queued:
                following.opened = clock
                acts.append(clock)
        clock += 1
    return columns[-1] - columns[0] + dram.burst_clocks


RUNS = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 4000)), min_size=1, max_size=3).map(
    tuple
)


@settings(max_examples=150, deadline=None)
@given(dram=drams(), runs=RUNS, write=st.booleans())
def test_equals_a_controller_stepped_clock_by_clock(
    dram: Dram, runs: tuple[tuple[int, int], ...], write: bool
) -> None:
    assume(sum(count * -(-size // dram.block_bytes) for count, size in runs) < 400)
    assert stream_clocks(dram, runs, write=write) == step_clocks(dram, runs, write)


@settings(max_examples=25, deadline=None)
@given(dram=drams(), size=st.integers(1, 1500), count=st.integers(60, 150), write=st.booleans())
def test_equal_runs_may_be_jumped_over(dram: Dram, size: int, count: int, write: bool) -> None:
    assume(count * -(-size // dram.block_bytes) < 1200)
    runs = ((count, size),)
    assert stream_clocks(dram, runs, write=write) == step_clocks(dram, runs, write)


@given(dram=drams(), size=st.integers(1, 10_000), count=st.integers(1, 50))
def test_never_faster_than_the_bus_and_never_slower_for_less(
    dram: Dram, size: int, count: int
) -> None:
    bursts = count * -(-size // dram.block_bytes)
    clocks = stream_clocks(dram, ((count, size),), write=False)
    assert clocks >= bursts * dram.burst_clocks
    assert stream_clocks(dram, ((count + 1, size),), write=False) >= clocks


def test_a_million_runs_cost_no_more_than_a_hundred() -> None:
    dram = load_dram("ddr4-2400")
    per_run = stream_clocks(dram, ((1_000_001, 4096),), write=False) - stream_clocks(
        dram, ((1, 4096),), write=False
    )
    assert per_run == 1_000_000 * 16 * dram.burst_clocks


@pytest.mark.parametrize("name", dram_names())
def test_long_streams_keep_the_bus_busy_and_single_bursts_do_not(name: str) -> None:
    dram = load_dram(name)
    stream = stream_clocks(dram, ((1, 1 << 20),), write=False)
    assert stream == pytest.approx((1 << 20) // dram.block_bytes * dram.burst_clocks, rel=0.01)
    assert 0.8 < dram.data_share(1.0) < 0.95
    single = stream_clocks(dram, ((1000, dram.block_bytes),), write=False)
    assert single == pytest.approx(1000 * dram.four_acts / 4, rel=0.02)


def test_published_peaks() -> None:
    assert load_dram("ddr4-2400").bytes_per_s == pytest.approx(76.8e9)
    assert load_dram("hbm2e").bytes_per_s == pytest.approx(409.6e9)


def test_refresh_takes_what_a_stepped_refresh_takes() -> None:
    dram = load_dram("ddr4-2400")
    burst, clock, done, due = dram.burst_clocks, 0, 0, dram.refresh_interval
    while done < 1_000_000:
        clock += burst
        done += 1
        if clock >= due:
            clock += dram.closed_clocks
            due += dram.refresh_interval
    turns = dram.read_to_write_lost + dram.write_to_read_lost
    batch = dram.batch_bursts * burst
    stepped = done * burst / clock * batch / (batch + turns)
    assert dram.data_share(1.0) == pytest.approx(stepped, rel=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels = 4 ", "channels = 0 ", "channels is 0; it must be at least 1"),
        ("channels = 4 ", 'channels = "many" ', "channels: Input should be a valid integer"),
        ("channels = 4 ", "chanels = 4 ", "chanels"),
        ("row_bytes = 8192", "row_bytes = 100", "no multiple of burst_bytes"),
        ("column_to_column = 6 ", "column_to_column = 60 ", "more than a burst of each"),
        ("refresh = 420 ", "refresh = 42000 ", "leaves no time for data"),
        ("channels = 4 ", "channels 4 ", "not TOML"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(old: str, new: str, message: str) -> None:
    from importlib.resources import files

    text = (files("weft.sim.dram") / "presets" / "ddr4-2400.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(DramError, match=message) as told:
        parse_dram(text.replace(old, new), "my.toml")
    assert "\n" not in str(told.value)


def test_an_unknown_memory_is_told_with_the_known_ones() -> None:
    with pytest.raises(DramError, match="unknown memory 'ddr9'; known: simple, ddr4-2400, hbm2e"):
        load_dram("ddr9")
