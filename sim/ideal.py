"""``systolic-ideal``: a systolic array with nothing around it, in closed form.

The array semantics of the simulators that most people use, without memory limits: operands are
always there, tiles (folds) never overlap, and the outputs of an output-stationary tile leave for
free. For comparing cycles with these peers at equal meaning; ``sat-*`` machines are the real thing.

Sources: SCALE-Sim 3.0.0 (PyPI) and STONNE's output-stationary TPU setting, whose compute cycles on
traced runs these forms give exactly (tests/sim/test_ideal.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "IDEAL",
    "SUMMARY",
    "Compression",
    "IdealArray",
    "IdealDataflow",
    "ideal_array",
    "ideal_cycles",
    "ideal_text",
]

IDEAL = "systolic-ideal"
"""The name that stands for this setting where a machine is asked for."""

SUMMARY = "systolic array without memory limits, as SCALE-Sim counts it; for `weft predict`"
"""One line for lists of machines."""

_MAX_SIDE = 1 << 16


class IdealDataflow(StrEnum):
    """What stays in the array.

    ``os``, ``ws``, ``is``: outputs, weights, inputs, as in SCALE-Sim: edge tiles are charged in
    full. ``os-edge``: outputs, as in STONNE: edge tiles are charged by what they hold.
    """

    OS = "os"
    WS = "ws"
    IS = "is"
    OS_EDGE = "os-edge"


@dataclass(frozen=True)
class IdealArray:
    """``rows`` x ``cols`` multiply-accumulate elements, one product each per cycle."""

    rows: int = 32
    cols: int = 32
    dataflow: IdealDataflow = IdealDataflow.OS

    def __post_init__(self) -> None:
        for name, size in (("rows", self.rows), ("cols", self.cols)):
            if not 1 <= size <= _MAX_SIDE:
                raise ValueError(f"{IDEAL}: {name} is {size}; it must be 1 to {_MAX_SIDE}")


@dataclass(frozen=True)
class Compression:
    """How an N:M weight shortens the reduction in SCALE-Sim.

    Layer-wise: one mask for all filters, so that whole rows of K fall away; metadata is free.
    Row-wise: every row draws its own N, at most M / 2, and the tile waits for M / 2 whatever N.

    Raises:
        ValueError: unless 1 <= n <= m.
    """

    n: int = 1
    m: int = 1
    row_wise: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m:
            raise ValueError(f"sparsity {self.n}:{self.m} is not possible; N:M needs 1 <= N <= M")

    @classmethod
    def parse(cls, text: str) -> Compression:
        """Read ``dense``, ``2:4`` or ``2:4-rowwise``.

        Raises:
            ValueError: any other text.
        """
        if text == "dense":
            return cls()
        match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})(-rowwise)?", text)
        if match is None:
            raise ValueError(f"sparsity {text!r} is not dense, N:M or N:M-rowwise")
        return cls(int(match[1]), int(match[2]), match[3] is not None)

    def depth(self, k: int) -> int:
        """Reduction steps left of ``k``."""
        if self.row_wise:
            return -(-k // (2 * self.m)) * self.m
        return k // self.m * self.n + min(self.n, k % self.m)


_DENSE = Compression()


def ideal_cycles(
    array: IdealArray, m: int, k: int, n: int, compression: Compression = _DENSE, batch: int = 1
) -> int:
    """Cycles of ``batch`` products Y[m, n] = X[m, k] W[k, n], one after the other.

    For SCALE-Sim's dataflows this is the number it reports, the index of the last cycle: one
    less than the cycles that pass.
    """
    depth = compression.depth(k)
    if array.dataflow is IdealDataflow.OS_EDGE:
        return batch * _os_edge(array, m, depth, n)
    return batch * _folds(array, m, depth, n) - 1


def _folds(array: IdealArray, m: int, depth: int, n: int) -> int:
    """Cycles of all folds: each fills the array, streams, and empties it before the next."""
    rows, cols = array.rows, array.cols
    if array.dataflow is IdealDataflow.OS:
        return _tiles(m, rows) * _tiles(n, cols) * (depth + rows + cols - 2)
    kept, streamed = (n, m) if array.dataflow is IdealDataflow.WS else (m, n)
    return _tiles(depth, rows) * _tiles(kept, cols) * (streamed + 2 * rows + cols - 2)


def _os_edge(array: IdealArray, m: int, depth: int, n: int) -> int:
    """Each tile takes depth + its rows + its columns + 3 cycles, one less where it is a vector."""
    total = 0
    for tile_rows, high in _parts(m, array.rows):
        for tile_cols, wide in _parts(n, array.cols):
            one = depth + tile_rows + tile_cols + 3 - (tile_rows == 1 or tile_cols == 1)
            total += high * wide * one
    return total


def _tiles(size: int, tile: int) -> int:
    return -(-size // tile)


def _parts(size: int, tile: int) -> list[tuple[int, int]]:
    """(extent, how many) of the full tiles and of the last, smaller one."""
    rest = size % tile
    parts = [(tile, size // tile), (rest, 1 if rest else 0)]
    return [part for part in parts if part[1]]


def ideal_array(row: Mapping[str, str]) -> IdealArray:
    """The array that a table's row asks for in ``rows``, ``cols``, ``dataflow``; empty: default.

    Raises:
        ValueError: a side that is no number or out of range, or an unknown dataflow.
    """
    default = IdealArray()
    sides = {
        name: _side(name, (row.get(name) or "").strip() or str(getattr(default, name)))
        for name in ("rows", "cols")
    }
    text = (row.get("dataflow") or default.dataflow).strip().lower()
    if text not in list(IdealDataflow):
        raise ValueError(f"dataflow is {text!r}; allowed: {', '.join(IdealDataflow)}")
    return IdealArray(**sides, dataflow=IdealDataflow(text))


def _side(name: str, text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{name} is {text!r}; it must be 1 to {_MAX_SIDE}")
    return int(text)


def ideal_text() -> str:
    """What ``weft hardware systolic-ideal`` prints: defaults and what a table may set."""
    default = IdealArray()
    return (
        f"# {SUMMARY}\n"
        f'name = "{IDEAL}"\n'
        f"# Columns of the table of products set these row by row.\n"
        f"rows = {default.rows}\n"
        f"cols = {default.cols}\n"
        f'dataflow = "{default.dataflow}"  # {", ".join(IdealDataflow)}\n'
        f"# sparsity: dense, N:M (one mask for all filters) or N:M-rowwise, as in SCALE-Sim.\n"
    )
