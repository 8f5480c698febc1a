"""Products on a machine whose operands lie in memory as the array reads them, word by word.

Such a machine makes no windows on chip: a load gathers the words of a tile, 16 channels of a pixel
each, as often as a kernel's taps need them. That is what the Verilog does, so a schedule for it can
run there value by value. What the layout leaves of the map space:

* FF and BP: outputs stay (OS), a row of the array per pixel, the whole reduction in one tile.
  Right operands lie by passes over the columns, [pass][tap][group][N][columns of a pass], values
  and each bit of the indices apart.
* WU: the output gradient stays (WS), a row of the array per pixel, so that a word of 16 channels is
  16 vectors and nothing is transposed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.mapper.scheduling.geometry import Axis, Problem, Region, problems
from weft.sim.machine import Array, Machine
from weft.sim.pattern import DENSE, Pattern
from weft.sim.program import Dataflow
from weft.sim.program.timing import ceil_div
from weft.sim.workload import MaskWork, Product, Role, Stage, VectorOp, Workload

__all__ = [
    "WORD",
    "WORD_BYTES",
    "LayoutError",
    "MaskShape",
    "columns_of_pass",
    "mask_shape",
    "problems_on",
    "taps_of",
    "without_loss",
    "words_fit",
]

WORD = 16
"""Channels of a word."""

WORD_BYTES = 2 * WORD


class LayoutError(ValueError):
    """What a layout in words cannot hold."""


@dataclass(frozen=True)
class _LeftWords(Region):
    """Words of a left tile: each pixel's channels, once for every tap that reads them."""

    taps: int = 1
    channels_per_unit: int = 1

    def runs(self, batch: Any, pixels: Any, channels: Any, whole: Any) -> list[tuple[Any, Any]]:
        words = ceil_div(channels * self.channels_per_unit, WORD) * self.taps
        return [(pixels * words, WORD_BYTES)]


@dataclass(frozen=True)
class _RightWords(Region):
    """Passes over the columns: values, then one plane for each bit of their indices."""

    taps: int = 1
    width: int = WORD

    def runs(self, batch: Any, pixels: Any, channels: Any, whole: Any) -> list[tuple[Any, Any]]:
        kept = _kept(self.pattern, pixels) * self.taps * channels * self.width
        return [(kept * 0 + 1, 2 * kept), (self.pattern.index_bits, kept // 8)]


@dataclass(frozen=True)
class _Rows(Region):
    """Pixels' channels, ``width`` of them to a unit; ``apart`` units do not lie together."""

    width: int = WORD
    per_pixel: int = 1
    apart: bool = False

    def runs(self, batch: Any, pixels: Any, channels: Any, whole: Any) -> list[tuple[Any, Any]]:
        count = pixels * self.per_pixel
        if self.apart:
            return [(count * channels, 2 * self.width)]
        return [(count, 2 * self.width * channels)]


def _kept(pattern: Pattern, channels: Any) -> Any:
    return ceil_div(channels, pattern.m) * pattern.n


def columns_of_pass(array: Array) -> int:
    """Columns of the product that one OS pass makes."""
    return array.cols * array.interleave


def taps_of(product: Product) -> int:
    """Kernel positions of a convolution, 1 for a matrix product."""
    conv = product.convolution
    return 1 if conv is None else conv.kernel[0] * conv.kernel[1]


def problems_on(product: Product, machine: Machine) -> list[Problem]:
    """The tiling problems of ``product`` in the machine's layout.

    Raises:
        LayoutError: a product that a layout in words cannot hold.
    """
    if not machine.memory.in_words:
        return problems(product)
    _check(product, machine)
    if product.stage is Stage.WU:
        return [_weight_gradient(product, machine.array)]
    return [_outputs_stay(product, machine.array)]


def _check(product: Product, machine: Machine) -> None:
    array, conv = machine.array, product.convolution
    taps, width = taps_of(product), columns_of_pass(array)
    dense_weight = product.right.role is Role.WEIGHT and product.pattern.is_dense
    backward = product.stage is Stage.BP
    channels = product.m // taps if product.stage is Stage.WU else product.k // taps
    slots = _kept(product.pattern, channels) * taps
    beat = max(machine.memory.read_bytes_per_cycle, machine.memory.write_bytes_per_cycle)
    plane = slots * width // 8
    faults = {
        "a batch of products": product.batch != 1,
        "a product without a weight": Role.WEIGHT
        not in (product.left.role, product.right.role, product.output.role),
        "a pruned activation or gradient": product.sparse_operand == "left"
        or (product.stage is Stage.WU and not product.pattern.is_dense),
        f"{channels} channels in words of {WORD}": channels % WORD > 0,
        f"groups of {product.pattern.m} in words of {WORD}": WORD % product.pattern.m > 0,
        f"{product.n} columns in passes of {width}": product.n % width > 0,
        f"planes of {plane} bytes in beats of {beat}": plane % beat > 0
        and bool(product.pattern.index_bits),
        "dense weights transposed": backward and dense_weight,
        f"{product.k} pixels on {array.rows} rows": product.stage is Stage.WU
        and product.k % array.rows > 0,
        "a transposed or dilated convolution": conv is not None
        and (conv.transposed or conv.dilation != (1, 1)),
        "the input gradient of a strided convolution": backward
        and conv is not None
        and conv.stride != (1, 1),
    }
    for what, wrong in faults.items():
        if wrong:
            raise LayoutError(
                f"{product.name} ({product.stage}): the words of {machine.name} cannot hold {what}"
            )


def _outputs_stay(product: Product, array: Array) -> Problem:
    taps, width = taps_of(product), columns_of_pass(array)
    return Problem(
        Axis(product.m),
        Axis(product.k // taps, taps),
        Axis(product.n // width, width),
        1,
        _LeftWords("m", "k", role=product.left.role, taps=taps),
        _RightWords(
            "k", "n", role=product.right.role, pattern=product.pattern, taps=taps, width=width
        ),
        _Rows("m", "n", width=width),
        (taps,),
        product.pattern,
        product.sparse_operand,
        Dataflow.OS,
    )


def _weight_gradient(product: Product, array: Array) -> Problem:
    return Problem(
        Axis(product.m // WORD, WORD),
        Axis(product.k),
        Axis(product.n // array.cols, array.cols),
        1,
        _LeftWords("k", "m", role=product.left.role, channels_per_unit=WORD),
        _Rows("k", "n", role=product.right.role, width=array.cols, apart=True),
        _Rows("m", "n", width=array.cols, per_pixel=WORD),
        (1,),
        DENSE,
        "",
        Dataflow.WS,
    )


def words_fit(problem: Problem, sizes: dict[str, Any], machine: Machine) -> NDArray[np.bool_]:
    """Whether the words of a tile's operands and outputs each fit one bank."""
    array, buffers = machine.array, machine.buffers
    m, n, k = sizes["m"], sizes["n"], sizes["k"]
    if problem.only is Dataflow.OS:
        taps = problem.k.unit
        passes = ceil_div(m, array.rows)
        left = passes * ceil_div(k, WORD) * taps
        right = n * _kept(problem.pattern, k) * taps * array.interleave
        output = passes * n * array.rows * array.interleave
    else:
        left = ceil_div(k, array.rows) * m
        right = n * ceil_div(k, array.rows) * array.rows
        output = n * m * WORD
    fits: NDArray[np.bool_] = (
        (left * array.rows * WORD_BYTES <= buffers.left_bytes)
        & (right * array.cols * 2 <= buffers.right_bytes)
        & (output * array.cols * 4 <= buffers.output_bytes)
    )
    return fits


@dataclass(frozen=True)
class MaskShape:
    """A weight [taps][rows][columns] of which groups of ``rows`` are made for a pass of columns.

    SORE works off ``units``, each the ``rows`` of one tap in one pass over the columns.
    """

    taps: int
    rows: int
    columns: int
    width: int

    @property
    def units(self) -> int:
        return self.columns // self.width * self.taps

    @property
    def unit_elements(self) -> int:
        return self.rows * self.width


def mask_shape(work: MaskWork, workload: Workload, machine: Machine) -> MaskShape:
    """The weight behind ``work``, turned so that its groups run along rows.

    Raises:
        LayoutError: a mask that is not of a weight, or SORE lanes that are not a pass of columns.
    """
    width = columns_of_pass(machine.array)
    if machine.sore.lanes != width:
        raise LayoutError(
            f"{machine.name}: sore.lanes = {machine.sore.lanes}; a layout in words needs {width}"
        )
    for product in workload.products:
        if product.stage is Stage.FF and product.right.parameter == work.parameter:
            taps = taps_of(product)
            rows, columns = product.k // taps, product.n
            if work.axis == "o":
                rows, columns = columns, rows
            return MaskShape(taps, rows, columns, width)
    raise LayoutError(
        f"{work.name}: the words of {machine.name} cannot hold a mask of a {work.source}"
    )


def without_loss(workload: Workload) -> Workload:
    """The step without the loss function's own ops: outputs leave, their gradient comes in.

    The host works out the loss between the two; the time that takes is not modelled.
    """
    gone = {
        place
        for place, item in enumerate(workload.items)
        if isinstance(item, VectorOp) and item.name == "loss"
    }
    kept = [place for place in range(len(workload.items)) if place not in gone]
    place_of = {old: new for new, old in enumerate(kept)}
    items = tuple(
        replace(item, inputs=tuple(place_of[i] for i in item.inputs if i in place_of))
        for item in (workload.items[place] for place in kept)
    )
    note = f"{len(gone)} vector ops of the loss are the host's; their time is not modelled"
    return replace(workload, items=items, notes=(*workload.notes, note))
