"""One matmul instruction as the STCE sees it: banks in, banks out, and the sums it must give.

The order of accumulation is part of the machine: OS takes groups in order and the kept elements of
each in order; WS takes rows of the array (groups) in order, likewise; sums start at +0 or at what
the output bank holds. Products of halves are exact in FP32, every sum is rounded to nearest even.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.sim.machine import Array
from weft.sim.pattern import Pattern
from weft.sim.program import Dataflow, Matmul
from weft.sim.program.timing import ceil_div

__all__ = ["LANES", "Banks", "Tile", "compress", "expected", "fields", "make_banks", "read_outputs"]

LANES = 16
"""Halves in a word of the left buffer."""

Halves = NDArray[np.float16]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """Operands of one instruction.

    ``left`` is [rows, depth], ``values`` and ``index`` the kept weights [groups, N, columns],
    ``before`` the outputs [rows, columns] that it adds to where it accumulates.
    """

    work: Matmul
    left: Halves
    values: Halves
    index: NDArray[np.int64]
    before: Floats | None


@dataclass(frozen=True)
class Banks:
    """Bank images: left [rows][words][16], right [columns][words] of (index, value)."""

    left: NDArray[np.uint16]
    right_index: NDArray[np.int64]
    right_value: NDArray[np.uint16]
    outputs: NDArray[np.uint32]


def compress(weights: Halves, pattern: Pattern) -> tuple[Halves, NDArray[np.int64]]:
    """Kept values and their places [groups, N, columns] of N:M weights [depth, columns].

    The N of largest magnitude of every group stay, ties to the lower index, in index order; a
    last group with fewer elements is padded with zeros.
    """
    depth, columns = weights.shape
    groups = ceil_div(depth, pattern.m)
    padded = np.zeros((groups * pattern.m, columns), np.float16)
    padded[:depth] = weights
    grouped = padded.reshape(groups, pattern.m, columns)
    order = np.argsort(-np.abs(grouped.astype(np.float32)), axis=1, kind="stable")
    index = np.sort(order[:, : pattern.n], axis=1)
    return np.take_along_axis(grouped, index, axis=1), index


def _group(pattern: Pattern) -> tuple[int, int]:
    """(N, M), where dense is one of one."""
    return (1, 1) if pattern.is_dense else (pattern.n, pattern.m)


def _per_word(m: int) -> int:
    """Groups of M in a word: the largest power of two that fits."""
    return 1 << (LANES // m).bit_length() - 1


def fields(work: Matmul, array: Array) -> dict[str, int]:
    """The instruction's fields as stce_unit takes them."""
    n, m = _group(work.pattern)
    groups = work.depth if work.pattern.is_dense else work.groups
    per_word = _per_word(m)
    os = work.dataflow is Dataflow.OS
    vectors = ceil_div(work.rows, array.interleave) * array.interleave
    return {
        "weight_stationary": int(not os),
        "accumulate": int(work.accumulate),
        "n_keep": n,
        "m_group": m % LANES,
        "group_shift": per_word.bit_length() - 1,
        "steps": groups * n,
        "vectors": vectors,
        "row_passes": ceil_div(work.rows if os else groups, array.rows),
        "column_passes": ceil_div(
            work.columns, array.cols * array.interleave if os else array.cols
        ),
        "left_step": ceil_div(groups if os else vectors, per_word),
    }


def make_banks(tile: Tile, array: Array) -> Banks:
    """Lay the operands out as the instruction expects them, edges padded with zeros."""
    work = tile.work
    os = work.dataflow is Dataflow.OS
    shape = fields(work, array)
    left = _left_os(tile, array, shape) if os else _left_ws(tile, array, shape)
    index, value = _right_os(tile, array, shape) if os else _right_ws(tile, array, shape)
    outputs = np.zeros((array.cols, _output_words(array, shape, os=os)), np.uint32)
    if tile.before is not None:
        _place(outputs, tile.before, array, shape, os=os)
    return Banks(left, index, value, outputs)


def _grouped_left(tile: Tile) -> Halves:
    """Left operand as [rows, groups, M]."""
    _, m = _group(tile.work.pattern)
    groups = tile.values.shape[0]
    padded = np.zeros((tile.left.shape[0], groups * m), np.float16)
    padded[:, : tile.left.shape[1]] = tile.left
    return padded.reshape(-1, groups, m)


def _words(items: Halves) -> NDArray[np.uint16]:
    """Pack [..., count, M] into words of LANES halves: [..., words, LANES]."""
    *outer, count, m = items.shape
    per_word = _per_word(m)
    words = ceil_div(count, per_word)
    padded = np.zeros((*outer, words * per_word, m), np.float16)
    padded[..., :count, :] = items
    packed = np.zeros((*outer, words, LANES), np.float16)
    packed[..., : per_word * m] = padded.reshape(*outer, words, per_word * m)
    return packed.view(np.uint16)


def _left_os(tile: Tile, array: Array, shape: dict[str, int]) -> NDArray[np.uint16]:
    """Bank r holds tile rows r, r + R, ...; a word holds consecutive groups of a row."""
    grouped = _grouped_left(tile)
    passes = shape["row_passes"]
    padded = np.zeros((passes * array.rows, *grouped.shape[1:]), np.float16)
    padded[: grouped.shape[0]] = grouped
    banked = padded.reshape(passes, array.rows, *grouped.shape[1:]).swapaxes(0, 1)
    return _words(banked).reshape(array.rows, -1, LANES)


def _left_ws(tile: Tile, array: Array, shape: dict[str, int]) -> NDArray[np.uint16]:
    """Bank r holds groups r, r + R, ...; a word holds one group of consecutive vectors."""
    grouped = _grouped_left(tile)
    _, groups, m = grouped.shape
    passes = shape["row_passes"]
    padded = np.zeros((shape["vectors"], passes * array.rows, m), np.float16)
    padded[: grouped.shape[0], :groups] = grouped
    banked = padded.reshape(shape["vectors"], passes, array.rows, m).transpose(2, 1, 0, 3)
    return _words(banked).reshape(array.rows, -1, LANES)


def _right_os(
    tile: Tile, array: Array, shape: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """Bank c: per column pass, per step, the INTERLEAVE columns c I .. c I + I - 1 of the pass."""
    groups, n, columns = tile.values.shape
    width = array.cols * array.interleave
    passes = shape["column_passes"]

    def lay(items: NDArray[np.generic]) -> NDArray[np.generic]:
        padded = np.zeros((groups * n, passes * width), items.dtype)
        padded[:, :columns] = items.reshape(groups * n, columns)
        split = padded.reshape(groups * n, passes, array.cols, array.interleave)
        return split.transpose(2, 1, 0, 3).reshape(array.cols, -1)

    return lay(tile.index).astype(np.int64), lay(tile.values.view(np.uint16)).astype(np.uint16)


def _right_ws(
    tile: Tile, array: Array, shape: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
    """Bank c: per column pass, per group pass, row by row, the N kept weights of its group."""
    groups, n, columns = tile.values.shape
    rows, passes = shape["row_passes"] * array.rows, shape["column_passes"]

    def lay(items: NDArray[np.generic]) -> NDArray[np.generic]:
        padded = np.zeros((rows, n, passes * array.cols), items.dtype)
        padded[:groups, :, :columns] = items
        return (
            padded.reshape(rows * n, passes, array.cols).transpose(2, 1, 0).reshape(array.cols, -1)
        )

    return lay(tile.index).astype(np.int64), lay(tile.values.view(np.uint16)).astype(np.uint16)


def _output_words(array: Array, shape: dict[str, int], *, os: bool) -> int:
    if os:
        return shape["row_passes"] * shape["column_passes"] * array.rows * array.interleave
    return shape["column_passes"] * shape["vectors"]


def _order(array: Array, shape: dict[str, int], *, os: bool) -> tuple[NDArray[np.int64], ...]:
    """Tile row and column of every output word: arrays [columns of the array, words]."""
    if os:
        row_pass, column_pass, down, slot = np.meshgrid(
            np.arange(shape["row_passes"]),
            np.arange(shape["column_passes"]),
            np.arange(array.rows),
            np.arange(array.interleave),
            indexing="ij",
        )
        rows = (row_pass * array.rows + array.rows - 1 - down).reshape(-1)
        first = (column_pass * array.cols * array.interleave + slot).reshape(-1)
        columns = first + np.arange(array.cols)[:, None] * array.interleave
    else:
        column_pass, vector = np.meshgrid(
            np.arange(shape["column_passes"]), np.arange(shape["vectors"]), indexing="ij"
        )
        rows = vector.reshape(-1)
        columns = (column_pass * array.cols).reshape(-1) + np.arange(array.cols)[:, None]
    return np.broadcast_to(rows, columns.shape), columns


def _place(
    outputs: NDArray[np.uint32],
    values: Floats,
    array: Array,
    shape: dict[str, int],
    *,
    os: bool,
) -> None:
    rows, columns = _order(array, shape, os=os)
    padded = np.zeros((rows.max() + 1, columns.max() + 1), np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    outputs[:] = padded[rows, columns].view(np.uint32)


def read_outputs(outputs: NDArray[np.uint32], work: Matmul, array: Array) -> NDArray[np.uint32]:
    """The tile [rows, columns] as bits, out of the output banks."""
    shape = fields(work, array)
    rows, columns = _order(array, shape, os=work.dataflow is Dataflow.OS)
    whole = np.zeros((rows.max() + 1, columns.max() + 1), np.uint32)
    whole[rows, columns] = outputs
    return whole[: work.rows, : work.columns]


def expected(tile: Tile, array: Array) -> NDArray[np.uint32]:
    """What the instruction must leave, summed in the machine's order, as bits; NaN canonical."""
    grouped = _grouped_left(tile).astype(np.float32)
    groups, n, columns = tile.values.shape
    os = tile.work.dataflow is Dataflow.OS
    before = np.zeros((tile.left.shape[0], columns), np.float32)
    if tile.before is not None:
        before = tile.before
    sums = np.zeros_like(before) if os else before.copy()
    # WS passes pad the last groups with zero weights, and adding +0 turns -0 into +0.
    padding = 0 if os else fields(tile.work, array)["row_passes"] * array.rows - groups
    with np.errstate(all="ignore"):
        for group in range(groups):
            for kept in range(n):
                picked = grouped[:, group, :][:, tile.index[group, kept]]
                sums = sums + picked * tile.values[group, kept].astype(np.float32)
        if padding:
            sums = sums + np.float32(0)
        if os and tile.work.accumulate:
            sums = before + sums
    bits = sums.astype(np.float32).view(np.uint32).copy()
    bits[np.isnan(sums)] = 0x7FC00000
    return bits
