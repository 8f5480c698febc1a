"""Values of a matmul instruction: which words meet, and in which order sums are rounded.

OS: an output starts at +0 and takes groups in order, the kept elements of each in order; with
``accumulate`` the sum is then added to what the bank holds. WS: an output starts at +0, or at what
the bank holds, and takes groups in order, array row by array row, padding included. Products of
halves are exact in FP32, every sum is rounded to nearest even, NaN is canonical.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.sim.machine import Array
from weft.sim.program import Dataflow, Matmul
from weft.sim.program.timing import ceil_div
from weft.sim.reference.banks import INDEX_PLANES, NAN32, PlaceError, Store, unpack_planes
from weft.sim.reference.bind import Bound

__all__ = ["Shape", "multiply", "shape_of"]

WORD = 16
"""Halves in a word of the left buffer."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """Passes and words of one matmul instruction.

    ``per_word`` whole groups of ``m`` lie in a left word; ``left_step`` words separate row passes;
    ``steps`` reduction steps make an OS output, ``vectors`` stream in a WS pass.
    """

    n: int
    m: int
    per_word: int
    groups: int
    vectors: int
    row_passes: int
    column_passes: int
    left_step: int

    @property
    def steps(self) -> int:
        return self.groups * self.n

    def left_words(self) -> int:
        """Words per array row that the instruction reads."""
        return self.row_passes * self.left_step


def shape_of(work: Matmul, array: Array) -> Shape:
    """Work out the passes of ``work``."""
    dense = work.pattern.is_dense
    n, m = (1, 1) if dense else (work.pattern.n, work.pattern.m)
    groups = work.depth if dense else work.groups
    per_word = 1
    while 2 * per_word * m <= WORD:
        per_word *= 2
    stationary = work.dataflow is Dataflow.WS
    vectors = ceil_div(work.rows, array.interleave) * array.interleave
    width = array.cols if stationary else array.cols * array.interleave
    return Shape(
        n,
        m,
        per_word,
        groups,
        vectors,
        ceil_div(groups if stationary else work.rows, array.rows),
        ceil_div(work.columns, width),
        ceil_div(vectors if stationary else groups, per_word),
    )


def multiply(store: Store, bound: Bound, work: Matmul) -> None:
    """Do ``work`` on the banks of ``store``.

    Raises:
        PlaceError: a batch of tiles, which has no value-level layout, or a bank that is too small.
    """
    if work.batch != 1:
        raise PlaceError(f"a matmul of {work.batch} tiles has no layout in the banks; use 1")
    array = store.machine.array
    shape = shape_of(work, array)
    operands = _operands(store, bound, shape, array)
    sums = store.bank("output", bound).view(np.float32).reshape(-1, array.cols)
    with np.errstate(all="ignore"):
        if work.dataflow is Dataflow.OS:
            _output_stationary(operands, sums, shape, array, accumulate=work.accumulate)
        else:
            _weight_stationary(operands, sums, shape, array, accumulate=work.accumulate)


@dataclass(frozen=True)
class _Operands:
    """``left`` [words, rows, 16], ``value`` and ``index`` [words, cols]."""

    left: Floats
    value: Floats
    index: NDArray[np.int64]

    def picked(self, word: int, lanes: NDArray[np.int64]) -> Floats:
        """Left elements [rows, cols] of one word at ``lanes`` [cols]."""
        return self.left[word][:, lanes]


def _operands(store: Store, bound: Bound, shape: Shape, array: Array) -> _Operands:
    left = store.bank("left", bound).view(np.float16).astype(np.float32)
    value = store.bank("right", bound).view(np.float16).astype(np.float32)
    words = value.size // array.cols
    index = np.zeros((words, array.cols), np.int64)
    if shape.m > 1:
        planes = [store.bank(f"right_index{bit}", bound) for bit in range(INDEX_PLANES)]
        # Bits above the pattern's are never loaded, and never read: M is a power of two or small.
        planes = planes[: (shape.m - 1).bit_length()]
        index = unpack_planes(planes, 0, words * array.cols).reshape(words, array.cols)
    usable = left.size // (array.rows * WORD) * array.rows * WORD
    return _Operands(
        left[:usable].reshape(-1, array.rows, WORD),
        value[: words * array.cols].reshape(words, array.cols),
        index,
    )


def _canonical(sums: Floats) -> Floats:
    sums.view(np.uint32)[np.isnan(sums)] = NAN32
    return sums


def _output_stationary(
    operands: _Operands, sums: Floats, shape: Shape, array: Array, *, accumulate: bool
) -> None:
    rows, slots = array.rows, array.interleave
    for row_pass in range(shape.row_passes):
        for column_pass in range(shape.column_passes):
            held = np.zeros((slots, rows, array.cols), np.float32)
            for step in range(shape.steps):
                group = step // shape.n
                word = row_pass * shape.left_step + group // shape.per_word
                lane = group % shape.per_word * shape.m
                for slot in range(slots):
                    at = (column_pass * shape.steps + step) * slots + slot
                    picked = operands.picked(word, lane + operands.index[at])
                    held[slot] = held[slot] + picked * operands.value[at]
            # The drain brings the last row first, its interleave slots in order.
            first = (row_pass * shape.column_passes + column_pass) * rows * slots
            drained = held[:, ::-1, :].swapaxes(0, 1).reshape(rows * slots, array.cols)
            out = sums[first : first + rows * slots]
            out[:] = _canonical(out + drained if accumulate else drained)


def _weight_stationary(
    operands: _Operands, sums: Floats, shape: Shape, array: Array, *, accumulate: bool
) -> None:
    vectors = np.arange(shape.vectors)
    column = np.arange(array.cols)
    for column_pass in range(shape.column_passes):
        out = sums[column_pass * shape.vectors : (column_pass + 1) * shape.vectors]
        held = out.copy() if accumulate else np.zeros_like(out)
        for row in range(shape.row_passes * array.rows):
            group_pass, array_row = divmod(row, array.rows)
            words = group_pass * shape.left_step + vectors // shape.per_word
            lanes = vectors % shape.per_word * shape.m
            for kept in range(shape.n):
                at = (column_pass * shape.row_passes * array.rows + row) * shape.n + kept
                lane = lanes[:, None] + operands.index[at][None, column]
                picked = operands.left[words[:, None], array_row, lane]
                held = held + picked * operands.value[at]
        out[:] = _canonical(held)
