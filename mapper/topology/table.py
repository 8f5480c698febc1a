"""SCALE-Sim topology files: tables of convolutions or of matrix products, one layer a line.

Read by position, as SCALE-Sim reads them (`scalesim/topology_utils.py` of 3.0.0 and of its
repository): the first line is a header whatever it says, cells are separated by commas (or tabs,
where there are none), empty cells at the end of a line do not count, a line with a name alone is a
heading, and what stands behind ``#`` is a remark.

* Convolutions: name, input height and width, filter height and width, channels, filters, stride;
  then a second stride (along the width), a batch, or N:M.
* Matrix products: name, M, N, K; then a batch (products of that shape) or N:M.

A number behind the columns is a stride of convolutions unless the header calls it a batch, and a
batch of matrix products. What further columns the header names is left out, and told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from weft.sim.pattern import DENSE, Pattern
from weft.sim.workload import Convolution

__all__ = ["MAX_ELEMENTS", "Layer", "Topology", "is_topology", "read_topology"]

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
_LENGTHS = "1 to 4 cells behind the name are a matrix product's, 7 and more a convolution's"
MAX_ELEMENTS = 1 << 53
"""Of any operand: beyond it, counts are no longer exact in a double."""
_DEPTHWISE = "DP"
"""In a layer's name: one convolution per channel, as in SCALE-Sim."""


@dataclass(frozen=True)
class Layer:
    """One line: ``batch`` products Y[m, n] = X[m, k] W[k, n], of one image for a convolution.

    ``images`` is the batch that the line itself has, for a convolution. ``pattern`` is the N:M of
    the weights along k, ``partial`` whether the last window of a convolution reaches over the edge
    of its input.
    """

    name: str
    m: int
    k: int
    n: int
    batch: int = 1
    images: int = 1
    convolution: Convolution | None = None
    pattern: Pattern = DENSE
    partial: bool = False


@dataclass(frozen=True)
class Topology:
    """The layers of a file in their order; names are made unique by their line.

    ``notes`` say what of the file was left out.
    """

    name: str
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()

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
        ValueError: no such file, no layer, or a malformed row; the message names the line, the
            column and what is allowed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    rows = [(line, _cells(row)) for line, row in enumerate(text.splitlines(), 1)]
    if not any(cells for _, cells in rows):
        raise ValueError(f"{path} is empty; {_allowed()}")
    header = rows[0][1]
    body = [(line, cells) for line, cells in rows[1:] if cells]
    headings = [cells[0] for _, cells in body if len(cells) == 1]
    body = [(line, cells) for line, cells in body if len(cells) > 1]
    if len(header) > 1 and all(cell.isdecimal() for cell in header[1:]):
        raise ValueError(
            f"{path} line 1: {header[0]!r} looks like a layer, where SCALE-Sim skips a header; "
            f"{_allowed()}"
        )
    if not body:
        raise ValueError(f"{path} has a header and no layer; {_allowed()}")
    return Topology(path.stem, tuple(_layers(path, header, body)), _notes(header, body, headings))


def _layers(
    path: Path, header: Sequence[str], body: Sequence[tuple[int, list[str]]]
) -> Iterator[Layer]:
    matrix = _is_matrix(header, body[0][1])
    second_is_batch = any("batch" in name.lower() for name in header[len(_CONVOLUTION) :])
    names: set[str] = set()
    for line, cells in body:
        unique = f"{cells[0]}@{line}" if cells[0] in names else cells[0]
        names.add(unique)
        try:
            if matrix:
                yield _matrix_product(unique, cells)
            else:
                yield _convolution(unique, cells, second_is_batch=second_is_batch)
        except ValueError as error:
            raise ValueError(f"{path} line {line}: {error}") from error


def _cells(row: str) -> list[str]:
    """Stripped cells without the empty ones at the end of the line."""
    row = row.partition("#")[0]
    cells = [cell.strip() for cell in re.split("," if "," in row else "\t", row)]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def _allowed() -> str:
    return (
        f"the first line is a header, of {', '.join(_CONVOLUTION)}[, stride width or batch][, N:M] "
        f"or {', '.join(_MATRIX)}[, batch or N:M]"
    )


def _is_matrix(header: Sequence[str], first: Sequence[str]) -> bool:
    """By the header where it speaks, else by how many cells the first layer has."""
    plain = [cell.lower() for cell in header[1:4]]
    return (
        plain == ["m", "n", "k"]
        or ("m" in plain and len(first) < len(_CONVOLUTION))
        or (len(first) <= len(_MATRIX) + 2)
    )


def _notes(
    header: Sequence[str], body: Sequence[tuple[int, list[str]]], headings: Sequence[str]
) -> tuple[str, ...]:
    matrix = _is_matrix(header, body[0][1])
    known = len(_MATRIX) + 2 if matrix else len(_CONVOLUTION) + 2
    extra = [name for name in header[known:] if name]
    notes: list[str] = []
    if headings:
        notes.append(f"lines with a name alone are headings: {', '.join(headings)}")
    if extra:
        notes.append(f"columns that SCALE-Sim does not have are left out: {', '.join(extra)}")
    return tuple(notes)


def _split(
    columns: Sequence[str], cells: Sequence[str], most: int
) -> tuple[dict[str, int], list[str]]:
    """Sizes by column, and up to ``most`` cells behind them that are not empty."""
    missing = [name for name, cell in _paired(columns, cells) if not cell]
    if missing:
        raise ValueError(f"{missing[0]} is missing; needed: {', '.join(columns)}; {_LENGTHS}")
    sizes = {name: _size(name, cell) for name, cell in _paired(columns[1:], cells[1:])}
    behind = list(cells[len(columns) : len(columns) + most])
    return sizes, [cell for cell in behind if cell]


def _paired(columns: Sequence[str], cells: Sequence[str]) -> list[tuple[str, str]]:
    padded = [*cells, *[""] * len(columns)]
    return list(zip(columns, padded, strict=False))


def _matrix_product(name: str, cells: Sequence[str]) -> Layer:
    sizes, behind = _split(_MATRIX, cells, 2)
    pattern, numbers = _pattern_among(behind)
    if len(numbers) > 1 or len(cells) > len(_MATRIX) + 2:
        raise ValueError(f"{cells[-1]!r} is too many; allowed: {', '.join(_MATRIX)}[, batch, N:M]")
    batch = _size("batch", numbers[0]) if numbers else 1
    m, k, n = sizes["m"], sizes["k"], sizes["n"]
    _check_elements({"M x K": batch * m * k, "K x N": batch * k * n, "M x N": batch * m * n})
    return Layer(name, m, k, n, batch, pattern=pattern)


def _convolution(name: str, cells: Sequence[str], *, second_is_batch: bool) -> Layer:
    sizes, behind = _split(_CONVOLUTION, cells, 2)
    pattern, numbers = _pattern_among(behind)
    strides, images = (sizes["strides"], sizes["strides"]), 1
    for number in numbers:
        if second_is_batch:
            images = _size("batch", number)
        elif strides[1] == strides[0]:
            strides = (strides[0], _size("stride width", number))
        else:
            raise ValueError(f"{number!r} is too many; allowed: one more stride, or N:M")
    source = sizes["ifmap height"], sizes["ifmap width"]
    kernel = sizes["filter height"], sizes["filter width"]
    for side, have, window in zip(("height", "width"), source, kernel, strict=True):
        if window > have:
            raise ValueError(f"filter {side} is {window}; it must be at most ifmap {side}, {have}")
    channels, filters = sizes["channels"], sizes["num filter"]
    ends = list(zip(source, kernel, strides, strict=True))
    out = tuple(-(-(have - window) // stride) + 1 for have, window, stride in ends)
    groups = channels if _DEPTHWISE in name else 1
    _check_elements(
        {
            "the input": images * prod(source) * channels,
            "the filters": prod(kernel) * channels * filters,
            "the output": images * prod(out) * filters * groups,
            "the windows": images * prod(out) * prod(kernel) * channels,
        }
    )
    convolution = Convolution(
        images=1,
        in_channels=channels // groups,
        out_channels=filters,
        in_size=source,
        out_size=(out[0], out[1]),
        kernel=kernel,
        stride=strides,
    )
    return Layer(
        name,
        m=prod(out),
        k=convolution.in_channels * prod(kernel),
        n=filters,
        batch=groups,
        images=images,
        convolution=convolution,
        pattern=pattern,
        partial=any((have - window) % stride for have, window, stride in ends),
    )


def _pattern_among(cells: Sequence[str]) -> tuple[Pattern, list[str]]:
    """The N:M among the cells behind the columns, and the numbers there."""
    words = [cell for cell in cells if not cell.isdecimal()]
    if len(words) > 1:
        raise ValueError(f"{words[1]!r} is too many; allowed: one N:M")
    try:
        pattern = Pattern.parse(words[0]) if words else DENSE
    except ValueError as error:
        raise ValueError(f"sparsity: {error}") from error
    return pattern, [cell for cell in cells if cell.isdecimal()]


def _size(column: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"{column} is {text!r}; it must be a positive whole number")
    if int(text) > MAX_ELEMENTS:
        raise ValueError(f"{column} is {text}; it must be at most 2^53")
    return int(text)


def _check_elements(operands: dict[str, int]) -> None:
    for name, elements in operands.items():
        if elements > MAX_ELEMENTS:
            raise ValueError(f"{name} has {elements} elements; at most 2^53 are allowed")
