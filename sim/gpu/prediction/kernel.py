"""Time of tensor-core products on a GPU, from machine facts and a few fitted constants.

A product Y[M,N] = X[M,K] W[K,N] is cut into output tiles, one per thread block. For every
candidate tile and split of K the model adds up what the machine must do and takes the best:

- multiply: reduction steps x the longer of tensor-core time and operand feed, over the waves of
  tiles on the SMs; a thread block is never faster than its pipeline's latency per step;
- store: converting and writing the tiles, partly hidden behind multiplying;
- memory: bytes that the L2 cache does not still hold, partly hidden behind both;
- split: workspace traffic and synchronisation where K is shared among thread blocks;
- launch, and the slow-down at the power cap for long tensor-bound kernels.

All functions take and give arrays over products; a million products take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.sim.gpu.prediction.constants import KernelConstants
from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.gpu.prediction.tiles import tile_shapes

__all__ = ["Array", "KernelKind", "KernelTimes", "Products", "kernel_times", "output_bytes"]

Array = NDArray[np.float64]

STEP_K = 64.0
"""Depth of a reduction step: the 128-byte rows of a shared-memory stage at two bytes."""

RESIDENT_ELEMENTS = 8192.0
"""Output elements of thread blocks that share an SM: accumulators of 64 x 128 fill its registers
together with a second block's operands; smaller tiles let up to four blocks in."""

MAX_SPLIT = 64.0

BEFORE_HOPPER = ("volta", "ampere", "ada")
"""Where a thread block makes one tile: whole numbers of blocks share K, SMs compete for operands,
and one row or column takes a kernel of its own."""

FEED_ALONE = 2.0
"""Operands that an SM draws where few others do, over those it gets when all do (1.5, 2 and 3 tried
on L40S: no difference beyond noise)."""

WRITE_COST = 1.5
"""Time of a byte written to memory over that of one read, before Hopper (1 to 2 tried on L40S)."""

MOST_WAVES = 4
"""Waves of thread blocks over which cuBLAS shares K, where it does."""

GEMV_WARPS = 4.0

L2_KEEPS, L2_LOSES = 0.5, 1.25
"""Reuse distances within a kernel, in L2 sizes, up to which all hits and from which all misses."""

CHUNK = 512


@dataclass(frozen=True)
class KernelKind:
    """What all products of one call share.

    ``weight_ratio`` is stored bytes of W over dense bytes (2:4 keeps half the values and two index
    bits each). ``weight_copies`` weights are used in turn before one comes back: 6 in the measured
    tables, 1 for repeats on the same buffers, infinite when weights always come from memory.
    ``splits``: the library may share K among thread blocks.
    """

    rate_flop_clk_sm: float
    element_bytes: float = 2.0
    output_bytes: float = 2.0
    weight_ratio: float = 1.0
    weight_copies: float = 6.0
    splits: bool = True


@dataclass(frozen=True)
class Products:
    """Products to time; arrays of equal length.

    ``stored`` are the distinct elements of X, W and Y in memory where they are not M x K, K x N
    and M x N: a convolution reads each pixel once, a fused attention keeps its scores on chip.
    """

    m: Array
    n: Array
    k: Array
    batch: Array
    stored: tuple[Array, Array, Array] | None = None

    def __len__(self) -> int:
        return len(self.m)

    def cut(self, rows: slice) -> Products:
        """A run of rows."""
        stored = self.stored and (
            self.stored[0][rows], self.stored[1][rows], self.stored[2][rows]
        )  # fmt: skip
        return Products(self.m[rows], self.n[rows], self.k[rows], self.batch[rows], stored)


@dataclass(frozen=True)
class KernelTimes:
    """Result arrays, one entry per product.

    ``memory_bytes`` cross the edge of the L2 cache; ``tensor_us`` is what the tensor cores need;
    ``blocks`` are thread blocks of ``tile_m`` x ``tile_n`` outputs and 1/``split`` of K.
    """

    time_us: Array
    tensor_us: Array
    memory_bytes: Array
    blocks: Array
    tile_m: Array
    tile_n: Array
    split: Array


@dataclass(frozen=True)
class _Rows:
    """A chunk of products with what does not depend on the tile; arrays of shape (rows,)."""

    m: Array
    n: Array
    k: Array
    batch: Array
    steps: Array
    workspace_us: Array
    inputs: Array
    weights: Array
    once: Array
    written: Array


def output_bytes(dtype: str) -> float:
    """Bytes per element of the output of products of ``dtype``: 8-bit products write 16 bits."""
    return 4.0 if dtype in ("tf32", "fp32", "fp32-ieee") else 2.0


def _rows(products: Products, kind: KernelKind, gpu: GpuMachine, c: KernelConstants) -> _Rows:
    m, n, k, batch = products.m, products.n, products.k, products.batch
    left, right, output = products.stored or (m * k * batch, k * n * batch, m * n * batch)
    inputs = kind.element_bytes * left
    weights = kind.element_bytes * kind.weight_ratio * right
    outputs = kind.output_bytes * output
    kept = c.l2_fraction * gpu.l2_bytes
    together = weights + inputs + outputs

    def missed(distance: Array) -> Array:
        return np.clip((distance / kept - 1.0) / c.l2_ramp, 0.0, 1.0)

    once = weights * missed(together + (kind.weight_copies - 1.0) * weights)
    written = outputs * missed(together)
    once += inputs * missed(together) + written
    return _Rows(
        m, n, k, batch,
        steps=np.ceil(k / (STEP_K / 2)) / 2,
        workspace_us=4.0 * m * n * batch / (c.workspace_gbs * 1e3),
        inputs=inputs,
        weights=weights,
        once=once,
        written=written,
    )  # fmt: skip


def _traffic(rows: _Rows, down: Array, across: Array, gpu: GpuMachine, c: KernelConstants) -> Array:
    """Bytes past the L2 for ``down`` x ``across`` tiles, rastered along N in strips of rows.

    A wave covers ``high`` x ``wide`` tiles. Every strip passes over all of W once more, every step
    along a strip over its rows of X; what the L2 does not hold until then is read again.
    """
    high = np.minimum(down, np.maximum(gpu.sms / across, c.raster_rows))
    wide = np.minimum(across, gpu.sms / high)
    strips, steps = down / high, across / wide

    def lost(distance: Array) -> Array:
        return np.clip((distance / gpu.l2_bytes - L2_KEEPS) / (L2_LOSES - L2_KEEPS), 0.0, 1.0)

    weights = rows.weights / rows.batch
    strip = rows.inputs / rows.batch / strips
    again = (strips - 1.0) * rows.weights * lost(weights + strip)
    return rows.once + again + (steps - 1.0) * rows.inputs * lost(strip + weights / steps)


def _splits(tiles: Array, steps: Array, gpu: GpuMachine) -> Iterator[Array]:
    """Ways to share K among thread blocks: not at all, half a wave, a wave, several waves."""
    yield np.ones_like(tiles)
    most = np.clip(steps / 4, 1.0, MAX_SPLIT)
    wave = np.clip(np.floor(gpu.sms / tiles), 1.0, most)
    yield wave
    yield np.maximum(1.0, np.floor(wave / 2))
    if gpu.architecture not in BEFORE_HOPPER:
        yield np.clip(2.0 * gpu.sms / tiles, 1.0, most)
        return
    for waves in range(2, MOST_WAVES + 1):
        yield np.clip(np.floor(waves * gpu.sms / tiles), 1.0, most)


@dataclass(frozen=True)
class _Tiles:
    """What one reduction step of each candidate tile takes; arrays (tiles, 1).

    ``tensor_us`` on the tensor cores, ``feed_us`` to bring its operands when all SMs draw;
    ``store_us`` to store the tile; ``resident`` thread blocks share an SM.
    """

    tensor_us: Array
    feed_us: Array
    store_us: Array
    resident: Array


def _loop_us(
    blocks: Array, steps: Array, tile: _Tiles, gpu: GpuMachine, c: KernelConstants
) -> Array:
    """Multiplying and storing all tiles."""
    filled = blocks / gpu.sms
    feed_us = tile.feed_us
    if gpu.architecture in BEFORE_HOPPER:
        feed_us = feed_us * np.clip(filled, 1.0 / FEED_ALONE, 1.0)
    step_us = np.maximum(tile.tensor_us, feed_us)
    waves = np.maximum(1.0, filled + c.wave_hardness * (np.ceil(filled) - filled))
    latency = np.maximum(1.0, filled / tile.resident) * c.step_us
    multiply = steps * np.maximum(waves * step_us, latency)
    store = waves * tile.store_us
    return np.maximum(multiply, store) + c.store_exposed * np.minimum(multiply, store)


def _tiles(kind: KernelKind, gpu: GpuMachine, c: KernelConstants) -> _Tiles:
    tm, tn = tile_shapes(gpu.architecture)
    clocks_us = gpu.clock_hz * 1e-6
    area = tm * tn
    tensor = 2.0 * area * STEP_K / (kind.rate_flop_clk_sm * clocks_us * c.tensor_efficiency)
    step_bytes = (tm + kind.weight_ratio * tn) * STEP_K * kind.element_bytes
    feed = step_bytes / (c.feed_bytes_clk * clocks_us)
    store = area * kind.output_bytes / (c.store_bytes_clk * clocks_us)
    return _Tiles(tensor, feed, store, np.clip(RESIDENT_ELEMENTS / area, 1.0, 4.0))


def _gemv(rows: _Rows, gpu: GpuMachine, c: KernelConstants) -> Array:
    """A matrix times a vector without tensor cores: a few warps share a row and add up at once."""
    length = np.maximum(rows.m, rows.n) * rows.batch
    loop = rows.steps * c.step_us / GEMV_WARPS
    loop = loop * np.maximum(1.0, length / (gpu.sms * GEMV_WARPS))
    memory = rows.once / (gpu.memory_bytes_s * c.hbm_efficiency * 1e-6)
    return np.maximum(loop, memory) + c.exposed * np.minimum(loop, memory)


def _chunk(rows: _Rows, kind: KernelKind, gpu: GpuMachine, c: KernelConstants) -> KernelTimes:
    tm, tn = tile_shapes(gpu.architecture)
    tile = _tiles(kind, gpu, c)
    down, across = np.ceil(rows.m / tm), np.ceil(rows.n / tn)
    tiles = down * across * rows.batch
    moved = _traffic(rows, down, across, gpu, c)
    cost = moved
    if gpu.architecture in BEFORE_HOPPER:
        cost = moved + (WRITE_COST - 1.0) * rows.written
    memory = cost / (gpu.memory_bytes_s * c.hbm_efficiency * 1e-6)
    best = np.full(tiles.shape, np.inf)
    chosen = np.ones(tiles.shape)
    shares = _splits(tiles, rows.steps, gpu) if kind.splits else iter([np.ones_like(tiles)])
    for split in shares:
        loop = _loop_us(tiles * split, rows.steps / split, tile, gpu, c)
        time = np.maximum(loop, memory) + c.exposed * np.minimum(loop, memory)
        time += (split > 1.0) * (c.split_us + split * rows.workspace_us)
        better = time < best
        best = np.where(better, time, best)
        chosen = np.where(better, split, chosen)
    at = best.argmin(axis=0)
    column = np.arange(len(rows.m))
    body = best[at, column]
    if gpu.architecture in BEFORE_HOPPER and kind.weight_ratio == 1.0:
        body = np.where(
            np.minimum(rows.m, rows.n) == 1, np.minimum(body, _gemv(rows, gpu, c)), body
        )
    time_us = c.launch_us + body
    tensor_us = 2.0 * rows.m * rows.n * rows.k * rows.batch / (
        kind.rate_flop_clk_sm * gpu.sms * gpu.clock_hz * 1e-6 * c.tensor_efficiency
    )  # fmt: skip
    busy = np.minimum(1.0, tensor_us / time_us)
    slow = 1.0 + c.throttle * busy * busy * tensor_us / (tensor_us + c.throttle_us)
    return KernelTimes(
        time_us=time_us * slow,
        tensor_us=tensor_us * slow,
        memory_bytes=moved[at, column],
        blocks=tiles[at, column] * chosen[at, column],
        tile_m=tm[at, 0],
        tile_n=tn[at, 0],
        split=chosen[at, column],
    )


def kernel_times(
    products: Products, kind: KernelKind, gpu: GpuMachine, constants: KernelConstants
) -> KernelTimes:
    """Times of products; W (K x N) is the sparse operand, if any."""
    parts: list[KernelTimes] = []
    for start in range(0, len(products), CHUNK):
        rows = _rows(products.cut(slice(start, start + CHUNK)), kind, gpu, constants)
        parts.append(_chunk(rows, kind, gpu, constants))
    if not parts:
        empty = np.zeros(0)
        return KernelTimes(empty, empty, empty, empty, empty, empty, empty)
    names = KernelTimes.__dataclass_fields__
    return KernelTimes(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    )
