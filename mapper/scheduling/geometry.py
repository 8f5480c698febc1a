"""A product as a tiling problem: three axes cut into tiles, three operands with regions.

Tensors lie in memory in blocks of 32 channels ([channels / 32][pixels][32]), so a tile of pixels
and channels is one contiguous run per block. Compressed weights lie the same way, value and index
bits together. A convolution reads each input pixel of a tile once, halo included, and expands it
on chip; borders are stored with the tensor where a tile is less than an image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from weft.sim.pattern import DENSE, Pattern
from weft.sim.program import Dataflow
from weft.sim.program.timing import ceil_div
from weft.sim.workload import Convolution, Product, Role, Stage

__all__ = ["BLOCK", "Axis", "Problem", "Region", "problems"]

BLOCK = 32
"""Channels that lie together in memory."""

VALUE_BITS = 16


@dataclass(frozen=True)
class Axis:
    """``size`` units of ``unit`` elements each; a tile is a whole number of units."""

    size: int
    unit: int = 1

    @property
    def elements(self) -> int:
        return self.size * self.unit


@dataclass(frozen=True)
class Region:
    """How one operand's tile lies in memory.

    ``pixels`` and ``channels`` name axes ("m", "k", "n"); ``pixels_per_unit`` is the pixels that
    one unit of the pixel axis touches (a window's input rows, the taps of a weight). A ``pattern``
    compresses along the reduction: over "channels", over "pixels" one by one, or over "units" of
    the pixel axis, each tap of a weight on its own.
    """

    pixels: str
    channels: str
    pixels_per_unit: int = 1
    pattern: Pattern = DENSE
    compressed: str = "units"
    role: Role = Role.ACTIVATION

    def runs(self, batch: Any, pixels: Any, channels: Any, whole: Any) -> list[tuple[Any, Any]]:
        """(count, bytes) of the contiguous runs of a tile; integers or integer arrays.

        ``pixels`` and ``channels`` are in units; ``whole`` is 1 where the channels of one batch
        entry are all in the tile, so that neighbours in the batch share blocks, else 0.
        """
        if self.compressed == "channels":
            channels = self._kept(channels)
        rows = pixels * self.pixels_per_unit
        if self.compressed == "units":
            rows = self._kept(pixels) * self.pixels_per_unit
        elif self.compressed == "pixels":
            rows = self._kept(rows)
        bits = VALUE_BITS + self.pattern.index_bits
        together = 1 + (batch - 1) * whole
        blocks, rest = channels * together // BLOCK, channels * together % BLOCK
        times = batch // together
        return [
            (times * blocks, ceil_div(rows * BLOCK * bits, 8)),
            (times * (rest > 0), ceil_div(rows * rest * bits, 8)),
        ]

    def _kept(self, count: Any) -> Any:
        if self.pattern.is_dense:
            return count
        return ceil_div(count, self.pattern.m) * self.pattern.n


@dataclass(frozen=True)
class Problem:
    """Y[m, n] = X[m, k] W[k, n], ``batch`` times, ready to be tiled.

    A k unit is one channel with all its taps. ``phases`` are the taps of each of the products
    that a tile is made of: one, but for scattered convolutions. ``compressed`` names the N:M
    operand ("left", "right" or ""), which must sit on the array's columns. ``only`` is the one
    dataflow that a layout in words leaves (``weft.mapper.scheduling.words``), with the left operand
    in rows.
    """

    m: Axis
    k: Axis
    n: Axis
    batch: int
    left: Region
    right: Region
    output: Region
    phases: tuple[int, ...]
    pattern: Pattern = DENSE
    compressed: str = ""
    only: Dataflow | None = None

    def groups(self, k_units: Any, taps: int) -> Any:
        """N:M groups of a tile's reduction: channels of each tap, or pixels (WU)."""
        if self.left.channels == "k":
            return ceil_div(k_units, self.pattern.m) * taps
        return ceil_div(k_units * taps, self.pattern.m)


def problems(product: Product) -> list[Problem]:
    """The variants of a product: ways to cut its images into row tiles. A matrix has one."""
    if product.convolution is None:
        return [_matrix(product)]
    if product.stage is Stage.WU:
        return _weight_gradient(product)
    scattered = (product.stage is Stage.BP) != product.convolution.transposed
    return _scattered(product) if scattered else _gathered(product)


def _matrix(product: Product) -> Problem:
    pattern = product.pattern
    if product.stage is Stage.WU and product.left.role is not Role.GRADIENT:
        left = Region("k", "m", role=product.left.role)
    else:
        left = Region("m", "k", role=product.left.role)
    right = Region("k", "n", role=product.right.role)
    if product.sparse_operand == "left":
        left = replace(left, pattern=pattern, compressed=_reduced(left))
    elif product.sparse_operand == "right":
        right = replace(right, pattern=pattern)
    return Problem(
        Axis(product.m),
        Axis(product.k),
        Axis(product.n),
        product.batch,
        left,
        right,
        Region("m", "n"),
        (1,),
        pattern,
        product.sparse_operand,
    )


def _reduced(region: Region) -> str:
    return "units" if region.pixels == "k" else "channels"


def _row_tiles(rows: int) -> list[int]:
    """Heights into which an image is cut: its divisors, few and spread."""
    divisors = [height for height in range(1, rows + 1) if rows % height == 0]
    return divisors if len(divisors) <= 5 else sorted({divisors[0], *divisors[-5:]})


def _span(outputs: int, stride: int, taps: int, dilation: int, whole: int) -> int:
    """Input rows that ``outputs`` output rows read; never more than there are."""
    return min(whole, (outputs - 1) * stride + (taps - 1) * dilation + 1)


def _gathered(product: Product) -> list[Problem]:
    """FF of a convolution (or BP of a transposed one): each output gathers its window."""
    conv = product.convolution
    assert conv is not None
    (height, width), source = conv.out_size, conv.in_size
    if conv.transposed:
        (height, width), source = conv.in_size, conv.out_size
    variants: list[Problem] = []
    for rows in _row_tiles(height):
        pixels = Axis(conv.images * (height // rows), rows * width)
        window = _span(rows, conv.stride[0], conv.kernel[0], conv.dilation[0], source[0])
        taps = (conv.kernel[0] * conv.kernel[1],)
        variants.append(_convolve(product, pixels, window * source[1], pixels.unit, taps))
    return variants


def _convolve(
    product: Product, pixels: Axis, window_pixels: int, output_pixels: int, phases: tuple[int, ...]
) -> Problem:
    conv = product.convolution
    assert conv is not None
    taps = conv.kernel[0] * conv.kernel[1]
    left = Region("m", "k", window_pixels, role=product.left.role)
    right = Region("k", "n", taps, role=product.right.role)
    if product.sparse_operand == "right":
        right = replace(right, pattern=product.pattern)
    elif product.sparse_operand == "left":
        left = replace(left, pattern=product.pattern, compressed="channels")
    # PyTorch counts a transposed convolution's taps among what it makes: k, (n, taps).
    made = product.stage is Stage.FF and conv.transposed
    channels, columns = (product.k, product.n // taps) if made else (product.k // taps, product.n)
    return Problem(
        pixels,
        Axis(channels, taps),
        Axis(columns),
        product.batch,
        left,
        right,
        Region("m", "n", output_pixels),
        phases,
        product.pattern,
        product.sparse_operand,
    )


def _phase_taps(kernel: int, stride: int, padding: int, dilation: int, phase: int) -> int:
    """Kernel taps that reach the output rows congruent to ``phase`` modulo the stride."""
    return sum((phase + padding - tap * dilation) % stride == 0 for tap in range(kernel))


def _phases(conv: Convolution) -> tuple[int, ...]:
    """Taps of each of the stride x stride phases of the scattered grid that have any."""
    along = [
        [
            _phase_taps(conv.kernel[d], conv.stride[d], conv.padding[d], conv.dilation[d], phase)
            for phase in range(conv.stride[d])
        ]
        for d in (0, 1)
    ]
    taps = [rows * columns for rows in along[0] for columns in along[1]]
    return tuple(count for count in taps if count)


def _scattered(product: Product) -> list[Problem]:
    """BP of a convolution (or FF of a transposed one): each input scatters over its window.

    With stride s the target grid falls into s * s phases, each a small dense convolution with
    its own taps, so that no inserted zero is multiplied. A tile holds all phases of its rows.
    """
    conv = product.convolution
    assert conv is not None
    target, source = conv.in_size, conv.out_size
    if conv.transposed:
        target, source = conv.out_size, conv.in_size
    reach = ceil_div((conv.kernel[0] - 1) * conv.dilation[0], conv.stride[0])
    variants: list[Problem] = []
    for rows in _row_tiles(source[0]):
        pixels = Axis(conv.images * (source[0] // rows), rows * source[1])
        window = min(source[0], rows + reach) * source[1]
        output = ceil_div(rows * target[0], source[0]) * target[1]
        variants.append(_convolve(product, pixels, window, output, _phases(conv)))
    return variants


def _weight_gradient(product: Product) -> list[Problem]:
    """WU of a convolution: the reduction runs over pixels, the outputs over channels and taps.

    Only what is not read in windows can be compressed: a window's pixels are shared between taps.
    A transposed convolution reads its output gradient in windows, others their input.
    """
    conv = product.convolution
    assert conv is not None
    taps = conv.kernel[0] * conv.kernel[1]
    (height, width), source = conv.out_size, conv.in_size
    if conv.transposed:
        (height, width), source = conv.in_size, conv.out_size
    window_channels, plain_channels = product.m // taps, product.n
    windowed, plain, sparse = product.left, product.right, product.sparse_operand
    if conv.transposed:
        window_channels, plain_channels = product.n // taps, product.m
        windowed, plain = plain, windowed
        sparse = {"left": "right", "right": "left"}.get(sparse, "")
    variants: list[Problem] = []
    for rows in _row_tiles(height):
        pixels = Axis(conv.images * (height // rows), rows * width)
        window = _span(rows, conv.stride[0], conv.kernel[0], conv.dilation[0], source[0])
        variants.append(
            Problem(
                Axis(window_channels, taps),
                pixels,
                Axis(plain_channels),
                product.batch,
                Region("k", "m", window * source[1], role=windowed.role),
                Region("k", "n", pixels.unit, product.pattern, "pixels", plain.role),
                Region("m", "n", taps),
                (pixels.unit,),
                product.pattern,
                sparse,
            )
        )
    return variants
