"""DRAM in detail: banks, rows, refresh and bus turns, for the regions that a program moves.

A transfer's runs are streams of bursts. All channels work in step: a block of addresses is one
burst of each, so one channel speaks for all. Rows are opened round the banks, bank groups first,
as common address maps lay out streams; a run opens rows of its own, since nothing is known of the
one before. Bursts go in order; rows are opened ahead as far as the controller's queue sees, and
closed after their last burst. Reads and writes share the bus in batches, in the fixed proportion
of the machine's ports, and pay for each turn. All-bank refresh takes its part of all time.

Opening, column and closing times are maxima and sums of earlier ones, so a stream of equal runs
soon repeats with a common shift: it is stepped until it does, and the rest is one division.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
import tomllib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

__all__ = ["Dram", "DramError", "dram_names", "load_dram", "parse_dram", "stream_clocks"]


class DramError(ValueError):
    """A memory that is unknown, or a memory file with a field out of range."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Dram:
    """A DRAM interface; times in clocks of ``clock_hz``, named after what they keep apart.

    ``burst_bytes`` and ``row_bytes`` are one channel's. ``*_lost`` are clocks in which a turn of
    the bus moves no data; a turn each way happens every ``batch_bursts`` bursts.
    """

    name: str
    summary: str
    clock_hz: float
    channels: int
    burst_bytes: int
    burst_clocks: int
    bank_groups: int
    banks_per_group: int
    row_bytes: int
    act_to_column: int
    precharge: int
    act_to_precharge: int
    act_to_act: int
    four_acts: int
    column_to_column: int
    read_to_precharge: int
    write_to_precharge: int
    read_to_write_lost: int
    write_to_read_lost: int
    refresh: int
    refresh_interval: int
    batch_bursts: int
    lookahead_bursts: int

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not isinstance(value, str) and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if self.row_bytes % self.burst_bytes:
            raise ValueError(
                f"row_bytes {self.row_bytes} is no multiple of burst_bytes {self.burst_bytes}"
            )
        if self.bank_groups * self.burst_clocks < self.column_to_column:
            raise ValueError(
                f"column_to_column {self.column_to_column} is more than a burst of each bank group"
            )
        if self.refresh_interval <= self.closed_clocks:
            raise ValueError(f"refresh_interval {self.refresh_interval} leaves no time for data")

    @property
    def block_bytes(self) -> int:
        """Bytes that all channels move in one burst."""
        return self.channels * self.burst_bytes

    @property
    def bytes_per_s(self) -> float:
        """Peak: a burst of every channel after the other."""
        return self.block_bytes / self.burst_clocks * self.clock_hz

    @property
    def closed_clocks(self) -> int:
        """What one refresh takes from the data: rows are closed before and opened after."""
        return self.precharge + self.refresh + self.act_to_column

    def data_share(self, port_share: float) -> float:
        """The part of all clocks in which a port that owns ``port_share`` of the bus moves data."""
        batch = self.batch_bursts * self.burst_clocks
        turns = self.read_to_write_lost + self.write_to_read_lost
        refreshed = 1 - self.closed_clocks / self.refresh_interval
        return port_share * refreshed * batch / (batch + turns)

    def cycles(
        self,
        runs: Sequence[tuple[int, int]],
        *,
        write: bool,
        machine_hz: float,
        port_share: float,
    ) -> int:
        """Machine cycles that the bus needs for ``runs`` of (count, bytes)."""
        clocks = stream_clocks(self, tuple(runs), write=write)
        return math.ceil(clocks / self.data_share(port_share) * machine_hz / self.clock_hz)


@functools.cache
def stream_clocks(dram: Dram, runs: tuple[tuple[int, int], ...], *, write: bool) -> int:
    """Clocks from the first burst's start to the last one's end, without refresh and bus turns.

    All banks are closed at first, and the first row has been opened ahead.
    """
    stream = _Stream(dram, dram.write_to_precharge if write else dram.read_to_precharge)
    for count, size in runs:
        stream.runs(count, -(-size // dram.block_bytes))
    return stream.column - stream.first + dram.burst_clocks if stream.opened else 0


_LONG_AGO = -(1 << 60)


@dataclass
class _Rows:
    """Rows of a run that are open together, one per bank group, bursts dealt round them.

    ``columns`` are the column commands of the first burst of each; the rest follow at the pace
    of the bus.
    """

    first_burst: int
    bursts: int
    columns: list[int]

    def column(self, burst: int, pace: int) -> int:
        offset = burst - self.first_burst
        if offset < len(self.columns):
            return self.columns[offset]
        return self.columns[-1] + (offset - len(self.columns) + 1) * pace


@dataclass
class _Stream:
    """One channel's commands, in order; times in clocks."""

    dram: Dram
    close_after: int
    column: int = _LONG_AGO
    first: int = 0
    bursts: int = 0
    opened: int = 0
    acts: deque[int] = field(default_factory=lambda: deque([_LONG_AGO] * 4, 4))
    ready: list[int] = field(default_factory=list[int])
    last_in_group: list[int] = field(default_factory=list[int])
    recent: deque[_Rows] = field(default_factory=deque[_Rows])

    def __post_init__(self) -> None:
        self.ready = [_LONG_AGO] * (self.dram.bank_groups * self.dram.banks_per_group)
        self.last_in_group = [_LONG_AGO] * self.dram.bank_groups

    def runs(self, count: int, bursts: int) -> None:
        """``count`` runs of ``bursts`` each; stepped until they repeat with a shift."""
        seen: dict[tuple[int, ...], tuple[int, int]] = {}
        done = 0
        while done < count:
            self._run(bursts)
            done += 1
            key = self._shape()
            if key in seen:
                before, column = seen[key]
                times = (count - done) // (done - before)
                self._shift(times * (self.column - column), times * (done - before) * bursts)
                done += times * (done - before)
                seen.clear()
            else:
                seen[key] = (done, self.column)

    def _run(self, bursts: int) -> None:
        dram = self.dram
        together = dram.bank_groups * (dram.row_bytes // dram.burst_bytes)
        while bursts > 0:
            self._rows(min(bursts, together))
            bursts -= together

    def _rows(self, bursts: int) -> None:
        """Open a row in as many bank groups as needed, and deal the bursts to them."""
        dram = self.dram
        groups = min(bursts, dram.bank_groups)
        rows = _Rows(self.bursts, bursts, [])
        acts: list[int] = []
        for group in range(groups):
            act = max(
                self.acts[-1] + dram.act_to_act,
                self.acts[0] + dram.four_acts,
                self.ready[(self.opened + group) % len(self.ready)],
                self._seen(self.bursts + group - dram.lookahead_bursts, rows),
            )
            act = act if act > _LONG_AGO // 2 else 0
            self.acts.append(act)
            acts.append(act)
            self.column = max(
                self.column + dram.burst_clocks,
                act + dram.act_to_column,
                self.last_in_group[self._group(group)] + dram.column_to_column,
            )
            rows.columns.append(self.column)
        if not self.opened:
            self.first = rows.columns[0]
        for group, act in enumerate(acts):
            last_burst = rows.first_burst + group + (bursts - 1 - group) // groups * groups
            last = rows.column(last_burst, dram.burst_clocks)
            self.last_in_group[self._group(group)] = last
            closed = max(act + dram.act_to_precharge, last + self.close_after)
            self.ready[(self.opened + group) % len(self.ready)] = closed + dram.precharge
        self.opened += groups
        self.bursts += bursts
        self.column = rows.column(self.bursts - 1, dram.burst_clocks)
        self._remember(rows)

    def _group(self, offset: int) -> int:
        return (self.opened + offset) % self.dram.bank_groups

    def _seen(self, burst: int, current: _Rows) -> int:
        """When the controller's queue first holds what comes its length after ``burst``."""
        for rows in (*self.recent, current):
            if rows.first_burst <= burst < rows.first_burst + rows.bursts:
                return rows.column(burst, self.dram.burst_clocks)
        return _LONG_AGO

    def _remember(self, rows: _Rows) -> None:
        self.recent.append(rows)
        while self.recent[0].first_burst + self.recent[0].bursts <= (
            self.bursts - self.dram.lookahead_bursts
        ):
            self.recent.popleft()

    def _shape(self) -> tuple[int, ...]:
        """The state relative to the last column: equal shapes go on equally."""
        now, floor = self.column, self.acts[-1]
        order = [self.ready[(self.opened + k) % len(self.ready)] for k in range(len(self.ready))]
        groups = [self.last_in_group[self._group(k)] for k in range(self.dram.bank_groups)]
        queue = (
            value
            for rows in self.recent
            for value in (
                rows.first_burst - self.bursts,
                rows.bursts,
                *(column - now for column in rows.columns),
            )
        )
        return (
            *(max(act, floor - self.dram.four_acts) - now for act in self.acts),
            *(max(time, floor) - now for time in order),
            *(max(last, now - self.dram.column_to_column) - now for last in groups),
            *queue,
        )

    def _shift(self, clocks: int, bursts: int) -> None:
        """Go on by a multiple of the period."""
        self.column += clocks
        self.bursts += bursts
        self.acts = deque((act + clocks for act in self.acts), 4)
        self.ready = [time + clocks for time in self.ready]
        self.last_in_group = [last + clocks for last in self.last_in_group]
        for rows in self.recent:
            rows.first_burst += bursts
            rows.columns = [column + clocks for column in rows.columns]


@functools.cache
def dram_names() -> tuple[str, ...]:
    """The memories that ship with weft."""
    folder = importlib.resources.files("weft.sim.dram") / "presets"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


@functools.cache
def load_dram(name: str) -> Dram:
    """The memory of that name or file.

    Raises:
        DramError: unknown name, unreadable file, or a field that is missing, unknown or wrong.
    """
    if name in dram_names():
        folder = importlib.resources.files("weft.sim.dram") / "presets"
        return parse_dram((folder / f"{name}.toml").read_text(encoding="utf-8"), name)
    if not name.endswith(".toml"):
        known = ", ".join(("simple", *dram_names()))
        raise DramError(f"unknown memory {name!r}; known: {known}, or the path of a .toml file")
    try:
        return parse_dram(Path(name).read_text(encoding="utf-8"), name)
    except (OSError, UnicodeDecodeError) as error:
        raise DramError(f"memory file {name}: {error}") from error


def parse_dram(text: str, source: str) -> Dram:
    """Read and check one memory file's text; ``source`` names it in messages."""
    try:
        return TypeAdapter(Dram).validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DramError(f"memory file {source}: not TOML: {error}") from error
    except ValidationError as error:
        # A misspelt field is missing under its right name too: tell the one that was written.
        fault = max(error.errors(), key=lambda found: found["type"].startswith("unexpected"))
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        raise DramError(f"memory file {source}: {place}{': ' if place else ''}{message}") from error
