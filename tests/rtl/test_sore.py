"""SORE against an independent numpy sort: values, indices, order and cycles."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from weft.rtl.cosimulation.build import Design, build_cpp, lint, sources_of
from weft.rtl.hardware import VERILOG

BENCH = VERILOG.parent / "cosimulation" / "bench" / "drive_sore.cpp"
PIPELINE = 34
SPECIAL = np.array(
    [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0xFE01],
    dtype=np.uint16,
)

Halves = NDArray[np.uint16]


def design(lanes: int) -> Design:
    return Design(
        "sore",
        sources_of("sore_lane", "sore"),
        {"LANES": lanes},
        arguments=("-CFLAGS", f"-DLANES={lanes}"),
    )


@dataclass(frozen=True)
class Case:
    """``groups`` has the shape (rounds * lanes, m); group g goes to lane g % lanes."""

    n: int
    inner_words: int  # 0: groups are contiguous
    groups: Halves

    @property
    def m(self) -> int:
        return self.groups.shape[1]

    def words(self, lanes: int) -> Halves:
        """The source bank's content."""
        if not self.inner_words:
            return self.groups.reshape(-1, lanes)
        # Rows of inner_words words; a group runs down M rows of one column.
        rows = self.groups.reshape(-1, self.inner_words * lanes, self.m)
        return rows.transpose(0, 2, 1).reshape(-1, lanes)

    def text(self, lanes: int) -> str:
        words = self.words(lanes)
        head = (len(self.groups) // lanes, self.m, self.n, int(self.inner_words > 0))
        numbers = [*map(str, head), str(self.inner_words or 1), str(len(words))]
        return " ".join([*numbers, *(f"{value:x}" for value in words.reshape(-1).tolist())])

    def expected(self) -> tuple[Halves, NDArray[np.intp]]:
        """Kept values and indices, (groups, n), by index; ties to the lower index."""
        magnitude = (self.groups & 0x7FFF).astype(np.int64)
        order = np.argsort(-magnitude, axis=1, kind="stable")[:, : self.n]
        index = np.sort(order, axis=1)
        return np.take_along_axis(self.groups, index, axis=1), index


def random_case(rng: np.random.Generator, lanes: int) -> Case:
    m = int(rng.integers(2, 17))
    n = int(rng.integers(1, m))
    across = bool(rng.integers(2))
    inner = int(rng.integers(1, 4)) if across else 0
    groups = int(rng.integers(1, 6)) * lanes * max(inner, 1)
    values = rng.integers(0, 1 << 16, (groups, m)).astype(np.uint16)
    few = rng.integers(0, 3, (groups, m)).astype(np.uint16) << 12  # many ties
    signs = rng.integers(0, 2, (groups, m)).astype(np.uint16) << 15
    kind = rng.integers(0, 3, (groups, 1))
    special = rng.choice(SPECIAL, (groups, m))
    return Case(n, inner, np.select([kind == 0, kind == 1], [values, few | signs], special))


def run(cases: list[Case], lanes: int) -> list[tuple[int, NDArray[np.int64]]]:
    """(cycles, rows of slot, lane, value, index) per case."""
    program = build_cpp(design(lanes), BENCH)
    text = "\n".join(case.text(lanes) for case in cases)
    result = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    found: list[tuple[int, NDArray[np.int64]]] = []
    rows: list[tuple[int, int, int, int]] = []
    for line in result.stdout.splitlines():
        words = line.split()
        if words[0] == "done":
            found.append((int(words[1]), np.array(rows, dtype=np.int64).reshape(-1, 4)))
            rows = []
        else:
            rows.append((int(words[1]), int(words[2]), int(words[3], 16), int(words[4])))
    return found


@pytest.mark.parametrize("lanes", [8, 32])
def test_keeps_the_largest_in_rounds_times_m_cycles(lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    cases = [random_case(rng, lanes) for _ in range(400 if lanes == 8 else 60)]
    found = run(cases, lanes)
    assert len(found) == len(cases)
    for case, (cycles, rows) in zip(cases, found, strict=True):
        rounds = len(case.groups) // lanes
        assert cycles == rounds * case.m + PIPELINE
        values, indices = case.expected()
        assert len(rows) == values.size
        slot, lane, value, index = rows.T
        group, place = slot // case.n * lanes + lane, slot % case.n
        assert (values[group, place] == value).all()
        assert (indices[group, place] == index).all()
    patterns = {(case.n, case.m) for case in cases}
    assert len(patterns) > (100 if lanes == 8 else 30)
    assert {bool(case.inner_words) for case in cases} == {False, True}


@pytest.mark.parametrize("lanes", [2, 8, 32, 64])
def test_lints_clean_with_all_warnings_on(lanes: int) -> None:
    lint(design(lanes))
