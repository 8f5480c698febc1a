"""SCALE-Sim topology files: tables of convolutions or of matrix products, one layer a line.

The format as SCALE-Sim 3.0.0 reads it (`scalesim/topology_utils.py` on PyPI) and as the files in
its repository are written: commas or tabs, with or without one at the end of a line, blank lines,
and remarks behind ``#``. Columns are found by name; an N:M may follow the last of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from weft.sim.pattern import DENSE, Pattern
from weft.sim.workload import Convolution

__all__ = ["Layer", "Topology", "is_topology", "read_topology"]

_CONVOLUTION = (
    "layer name",
    "ifmap height",
    "ifmap width",
    "filter height",
    "filter width",
    "channels",
    "num filter",
    "strides",
)
_MATRIX = ("layer", "m", "n", "k")
_SPARSITY = "sparsity"
_OTHER_NAMES = {
    "layer": "layer name",
    "num filters": "num filter",
    "stride": "strides",
    "sparsity ratio": _SPARSITY,
}
_DEPTHWISE = "DP"
"""In a layer's name: one convolution per channel, as in SCALE-Sim."""


@dataclass(frozen=True)
class Layer:
    """One line: ``batch`` products Y[m, n] = X[m, k] W[k, n], of one image for a convolution.

    ``pattern`` is the N:M of the weights along k, ``partial`` whether the last window of a
    convolution reaches over the edge of its input.
    """

    name: str
    m: int
    k: int
    n: int
    batch: int = 1
    convolution: Convolution | None = None
    pattern: Pattern = DENSE
    partial: bool = False


@dataclass(frozen=True)
class Topology:
    """The layers of a file in their order; names are made unique by their line."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """The patterns that occur and are not dense."""
        return tuple(sorted({layer.pattern for layer in self.layers if not layer.pattern.is_dense}))


def is_topology(text: str) -> bool:
    """Whether a MODEL of the command line is a topology file."""
    return text.lower().endswith(".csv")


def read_topology(path: Path) -> Topology:
    """Read a table of convolutions or of matrix products.

    Raises:
        ValueError: no such file, no known header, no layer, or a malformed row; the message
            names the line, the column and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    rows = [
        (line, cells) for line, row in enumerate(text.splitlines(), 1) if (cells := _cells(row))
    ]
    if not rows:
        raise ValueError(f"{path} is empty; {_allowed()}")
    layers: list[Layer] = []
    line, header = rows[0]
    try:
        columns = _columns(header)
        names: set[str] = set()
        for line, cells in rows[1:]:
            values = _values(columns, cells)
            name = values[columns[0]]
            unique = f"{name}@{line}" if name in names else name
            names.add(unique)
            layers.append(_layer(unique, values))
    except ValueError as error:
        raise ValueError(f"{path} line {line}: {error}") from error
    if not layers:
        raise ValueError(f"{path} has a header and no layer; {_allowed()}")
    return Topology(path.stem, tuple(layers))


def _cells(row: str) -> list[str]:
    """Stripped cells without the empty ones at the end of the line."""
    row = row.partition("#")[0]
    cells = [cell.strip() for cell in re.split("," if "," in row else "\t", row)]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _allowed() -> str:
    return (
        f"the first line must be {', '.join(_CONVOLUTION)} or {', '.join(_MATRIX)}[, {_SPARSITY}]"
    )


def _columns(header: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns, all lower case; the N:M may be there without a name."""
    plain = [" ".join(cell.lower().replace("_", " ").split()) for cell in header]
    if "m" in plain:
        needed, found = _MATRIX, ["layer" if c == "layer name" else c for c in plain]
    else:
        needed, found = _CONVOLUTION, [_OTHER_NAMES.get(cell, cell) for cell in plain]
    allowed = (*needed, _SPARSITY)
    for cell, name in zip(header, found, strict=True):
        if name not in allowed:
            raise ValueError(f"unknown column {cell!r}; {_allowed()}")
        if found.count(name) > 1:
            raise ValueError(f"column {cell!r} is there twice; {_allowed()}")
    missing = [name for name in needed if name not in found]
    if missing:
        raise ValueError(f"column {missing[0]!r} is missing; {_allowed()}")
    return tuple(found) if _SPARSITY in found else (*found, _SPARSITY)


def _values(columns: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    """Cells by column; only the N:M may be missing."""
    if len(cells) > len(columns):
        raise ValueError(
            f"{len(cells)} values, of which {cells[len(columns)]!r} is too many; "
            f"allowed: {', '.join(columns)}"
        )
    values = dict(zip(columns, cells, strict=False))
    missing = [name for name in columns if not values.get(name) and name != _SPARSITY]
    if missing:
        raise ValueError(f"{missing[0]} is missing; needed: {', '.join(columns[:-1])}")
    return values


def _layer(name: str, values: dict[str, str]) -> Layer:
    pattern = _pattern(values.get(_SPARSITY) or "dense")
    if "m" in values:
        m, k, n = (_size(values, column) for column in ("m", "k", "n"))
        return Layer(name, m, k, n, pattern=pattern)
    sizes = {column: _size(values, column) for column in _CONVOLUTION[1:]}
    source = sizes["ifmap height"], sizes["ifmap width"]
    kernel = sizes["filter height"], sizes["filter width"]
    for side, have, window in zip(("height", "width"), source, kernel, strict=True):
        if window > have:
            raise ValueError(f"filter {side} is {window}; it must be at most ifmap {side}, {have}")
    stride, channels, filters = sizes["strides"], sizes["channels"], sizes["num filter"]
    out = tuple(
        -(-(have - window) // stride) + 1 for have, window in zip(source, kernel, strict=True)
    )
    groups = channels if _DEPTHWISE in name else 1
    convolution = Convolution(
        images=1,
        in_channels=channels // groups,
        out_channels=filters,
        in_size=source,
        out_size=(out[0], out[1]),
        kernel=kernel,
        stride=(stride, stride),
    )
    return Layer(
        name,
        m=prod(out),
        k=convolution.in_channels * prod(kernel),
        n=filters,
        batch=groups,
        convolution=convolution,
        pattern=pattern,
        partial=any((have - window) % stride for have, window in zip(source, kernel, strict=True)),
    )


def _size(values: dict[str, str], column: str) -> int:
    text = values[column]
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{column} is {text!r}; it must be a positive whole number")
    return int(text)


def _pattern(text: str) -> Pattern:
    try:
        return Pattern.parse(text)
    except ValueError as error:
        raise ValueError(f"{_SPARSITY}: {error}") from error
