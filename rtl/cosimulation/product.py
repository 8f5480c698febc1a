"""A tiled product with everything that the machine needs to run it for real.

Layouts in memory, chosen so that what a tile needs lies in runs that fill its bank in order:

* left: [passes over rows (OS) or groups (WS)][words][array rows][16 halves];
* right values: [column passes][steps][interleave][cols] (OS) or
  [column passes][passes over groups][array rows][N][cols] (WS), FP16;
* right index planes: one tile after the other, in it one plane after the other, bits in the order
  of the values;
* output: row-major, FP16 or FP32.

In an OS pass, array column c and interleave slot i hold column i cols + c.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.rtl.cosimulation.matmul import LANES, Tile, compress, expected
from weft.sim.machine import Machine
from weft.sim.pattern import Pattern
from weft.sim.program import (
    Channel,
    Dataflow,
    Instruction,
    Loop,
    Matmul,
    Node,
    Program,
    Queue,
    Segment,
    Sync,
    Transfer,
)
from weft.sim.program.timing import ceil_div
from weft.sim.program.vector_work import vector_work
from weft.sim.reference.banks import narrow
from weft.sim.reference.product import Shape, shape_of

__all__ = ["Case", "Job", "Tiles", "make_case", "tile_units"]

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Tiles:
    """Elements of a tile along each axis; multiples of ``tile_units`` unless the whole axis."""

    m: int
    k: int
    n: int


@dataclass(frozen=True)
class Job:
    """One product to run: sizes, how, how it is cut, and the vector op on its outputs, if any."""

    m: int
    k: int
    n: int
    pattern: Pattern
    dataflow: Dataflow
    tiles: Tiles
    wide: bool = False
    loops: bool = True
    fused: str = ""


@dataclass(frozen=True)
class Case:
    """A program with its memory: bytes before, where tensors begin, and bytes expected after."""

    name: str
    program: Program
    memory: Bytes
    tensors: dict[str, int]
    expected: Bytes | None


def _group(pattern: Pattern) -> tuple[int, int]:
    return (1, 1) if pattern.is_dense else (pattern.n, pattern.m)


def tile_units(machine: Machine, pattern: Pattern, dataflow: Dataflow) -> Tiles:
    """The smallest tile; other tiles are multiples of it along every axis."""
    array = machine.array
    _, m = _group(pattern)
    per_word = 1 << (LANES // m).bit_length() - 1
    if dataflow is Dataflow.OS:
        return Tiles(array.rows, per_word * m, array.cols * array.interleave)
    return Tiles(math.lcm(array.interleave, per_word), array.rows * m, array.cols)


_At = dict[str, int]  # first element of the tile along m, k, n
_FIRST: _At = {"m": 0, "k": 0, "n": 0}


class _Planner:
    """Addresses and instructions of one job."""

    def __init__(self, machine: Machine, job: Job) -> None:
        self.machine, self.job, self.array = machine, job, machine.array
        self.kept, self.group = _group(job.pattern)
        self.stationary = job.dataflow is Dataflow.WS
        self.whole = shape_of(self.matmul(job.m, job.k, job.n, accumulate=False), self.array)
        self.size = {"m": job.m, "k": job.k, "n": job.n}
        self.tile = {
            "m": min(job.tiles.m, job.m),
            "k": min(job.tiles.k, job.k),
            "n": min(job.tiles.n, job.n),
        }
        memory = machine.memory
        self.beat = max(memory.read_bytes_per_cycle, memory.write_bytes_per_cycle)
        self.planes = job.pattern.index_bits
        self.pitch = self._even(job.n * self.element)
        tile = self.tile
        largest = shape_of(
            self.matmul(tile["m"], tile["k"], tile["n"], accumulate=False), self.array
        )
        self.plane_pitch = self._even(self._plane_bytes(largest))

    @property
    def element(self) -> int:
        """Bytes of an output in memory."""
        return 4 if self.job.wide else 2

    def _even(self, size: int) -> int:
        """``size`` rounded up to whole beats."""
        return ceil_div(size, self.beat) * self.beat

    def matmul(self, rows: int, depth: int, columns: int, *, accumulate: bool) -> Matmul:
        """The instruction of a tile."""
        groups = ceil_div(depth, self.group)
        job = self.job
        return Matmul(
            job.dataflow, rows, depth, columns, job.pattern, groups, accumulate=accumulate
        )

    # Right operand: words of one column pass, and how many of them come before element k.
    def _right_row(self, shape: Shape) -> int:
        """Weights of one column pass per array column."""
        if self.stationary:
            return shape.row_passes * self.array.rows * self.kept
        return shape.steps * self.array.interleave

    def _right_before(self, k: int) -> int:
        steps = k // self.group * self.kept
        return steps if self.stationary else steps * self.array.interleave

    def _plane_bytes(self, shape: Shape) -> int:
        return ceil_div(shape.column_passes * self._right_row(shape) * self.array.cols, 8)

    @property
    def width(self) -> int:
        """Columns of a column pass."""
        return self.array.cols * (1 if self.stationary else self.array.interleave)

    def left_address(self, at: _At) -> int:
        """First byte of a left tile."""
        groups = at["k"] // self.group
        if self.stationary:
            outer, word = groups // self.array.rows, at["m"] // self.whole.per_word
        else:
            outer, word = at["m"] // self.array.rows, groups // self.whole.per_word
        return (outer * self.whole.left_step + word) * self.array.rows * 2 * LANES

    def right_address(self, at: _At) -> int:
        """First byte of a right tile's values."""
        words = at["n"] // self.width * self._right_row(self.whole) + self._right_before(at["k"])
        return words * self.array.cols * 2

    def plane_address(self, at: _At) -> int:
        """First byte of a right tile's index planes."""
        k_tiles = ceil_div(self.size["k"], self.tile["k"])
        tile = at["n"] // self.tile["n"] * k_tiles + at["k"] // self.tile["k"]
        return tile * self.planes * self.plane_pitch

    def output_address(self, at: _At) -> int:
        """First byte of an output tile."""
        return at["m"] * self.pitch + at["n"] * self.element

    def _strides(self, address: Callable[[_At], int], loops: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(address({**_FIRST, axis: self.tile[axis]}) for axis in loops)

    def _transfer(
        self,
        address: Callable[[_At], int],
        at: _At,
        loops: tuple[str, ...],
        work: Transfer,
        extra: int = 0,
    ) -> Transfer:
        return replace(work, base=address(at) + extra, loop_strides=self._strides(address, loops))

    def loads(self, at: _At, loops: tuple[str, ...], shape: Shape) -> list[Node]:
        """Left tile, right values, right index planes."""
        row_bytes = self.array.rows * 2 * LANES
        left = Transfer(
            ((shape.row_passes, shape.left_step * row_bytes),),
            "left",
            "left",
            run_stride=self.whole.left_step * row_bytes,
        )
        value_bytes = self._right_row(shape) * self.array.cols * 2
        right = Transfer(
            ((shape.column_passes, value_bytes),),
            "right",
            "right",
            run_stride=self._right_row(self.whole) * self.array.cols * 2,
        )
        works = [self._transfer(self.right_address, at, loops, right)]
        for bit in range(self.planes):
            runs = ((1, self._plane_bytes(shape)),)
            plane = Transfer(runs, f"right_index{bit}", "planes")
            extra = bit * self.plane_pitch
            works.append(self._transfer(self.plane_address, at, loops, plane, extra))
        last = len(works) - 1
        return [
            Instruction(
                Queue.LOAD,
                self._transfer(self.left_address, at, loops, left),
                (Channel.LEFT_FREE,),
                (Channel.LEFT_FULL,),
            ),
            *(
                Instruction(
                    Queue.LOAD,
                    work,
                    (Channel.RIGHT_FREE,) if index == 0 else (),
                    (Channel.RIGHT_FULL,) if index == last else (),
                )
                for index, work in enumerate(works)
            ),
        ]

    def stores(self, at: _At, loops: tuple[str, ...], rows: int, columns: int) -> list[Node]:
        """The output tile, row by row."""
        shape = shape_of(self.matmul(rows, 1, columns, accumulate=False), self.array)
        array, line = self.array, self.array.cols * 4
        works: list[Transfer] = []
        if self.stationary:
            works.append(
                Transfer(
                    ((rows, columns * self.element),),
                    "output",
                    "output",
                    run_stride=self.pitch,
                    bank_stride=line,
                    chunk=line,
                    chunk_stride=shape.vectors * line,
                    wide=self.job.wide,
                )
            )
        else:
            line *= array.interleave
            for row_pass in range(shape.row_passes):
                first = (row_pass * shape.column_passes + 1) * array.rows - 1
                count = min(array.rows, rows - row_pass * array.rows)
                works.append(
                    Transfer(
                        ((count, columns * self.element),),
                        "output",
                        "output",
                        base=row_pass * array.rows * self.pitch,
                        run_stride=self.pitch,
                        offset=first * line,
                        bank_stride=-line,
                        chunk=line,
                        chunk_stride=array.rows * line,
                        wide=self.job.wide,
                    )
                )
        last = len(works) - 1
        return [
            Instruction(
                Queue.STORE,
                self._transfer(self.output_address, at, loops, work, work.base),
                (self._ready,) if index == 0 else (),
                (Channel.OUT_FREE,) if index == last else (),
            )
            for index, work in enumerate(works)
        ]

    @property
    def _ready(self) -> Channel:
        return Channel.OUT_FROM_WUVE if self.job.fused else Channel.OUT_FULL

    def finish(self, rows: int, columns: int) -> list[Node]:
        """The end of an output tile; then the vector op on all words that it fills."""
        if not self.job.fused:
            return [Instruction(Queue.STCE, Sync(), (), (Channel.OUT_FULL,))]
        shape = shape_of(self.matmul(rows, 1, columns, accumulate=False), self.array)
        words = (
            shape.column_passes * shape.vectors
            if self.stationary
            else shape.row_passes * shape.column_passes * self.array.rows * self.array.interleave
        )
        work = vector_work(self.job.fused, words * self.array.cols, self.machine.wuve, fused=True)
        return [
            Instruction(Queue.STCE, Sync(), (), (Channel.OUT_TO_WUVE,)),
            Instruction(Queue.WUVE, work, (Channel.OUT_TO_WUVE,), (Channel.OUT_FROM_WUVE,)),
        ]

    def _parts(self, axis: str, *, apart: bool) -> list[tuple[int, int, int]]:
        """(first element, how many, size) of equal tiles; ``apart`` keeps the first one alone."""
        size, tile = self.size[axis], self.tile[axis]
        full, rest = divmod(size, tile)
        if not self.job.loops:
            parts = [(index * tile, 1, tile) for index in range(full)]
        elif apart:
            parts = [(0, 1, tile), *([(tile, full - 1, tile)] if full > 1 else [])]
        else:
            parts = [(0, full, tile)]
        return parts + ([(full * tile, 1, rest)] if rest else [])

    def nest(
        self,
        axis: str,
        at: _At,
        loops: tuple[str, ...],
        *,
        apart: bool,
        make: Callable[[_At, tuple[str, ...], int], list[Node]],
    ) -> list[Node]:
        """``make`` for every tile along ``axis``, in loops where tiles are alike."""
        nodes: list[Node] = []
        for first, count, size in self._parts(axis, apart=apart):
            here = {**at, axis: first}
            if count == 1:
                nodes += make(here, loops, size)
            else:
                nodes.append(Loop(count, tuple(make(here, (*loops, axis), size))))
        return nodes

    def program(self) -> tuple[Node, ...]:
        """All tiles: rows, columns, and the reduction innermost."""

        def column(at: _At, loops: tuple[str, ...], rows: int, columns: int) -> list[Node]:
            def step(here: _At, inner: tuple[str, ...], depth: int) -> list[Node]:
                work = self.matmul(rows, depth, columns, accumulate=here["k"] > 0)
                return [
                    *self.loads(here, inner, shape_of(work, self.array)),
                    Instruction(
                        Queue.STCE,
                        work,
                        (Channel.LEFT_FULL, Channel.RIGHT_FULL),
                        (Channel.LEFT_FREE, Channel.RIGHT_FREE),
                    ),
                ]

            return [
                Instruction(Queue.STCE, Sync(), (Channel.OUT_FREE,)),
                *self.nest("k", at, loops, apart=True, make=step),
                *self.finish(rows, columns),
                *self.stores(at, loops, rows, columns),
            ]

        def row(at: _At, loops: tuple[str, ...], rows: int) -> list[Node]:
            return self.nest(
                "n",
                at,
                loops,
                apart=False,
                make=lambda tile, outer, size: column(tile, outer, rows, size),
            )

        return tuple(self.nest("m", _FIRST, (), apart=False, make=row))

    # Images.
    def left_image(self, left: NDArray[np.float16]) -> Bytes:
        """The left operand [m, k] as it lies in memory."""
        whole, rows = self.whole, self.array.rows
        per_word = whole.per_word
        groups = whole.groups
        grouped = np.zeros((left.shape[0], groups * self.group), np.float16)
        grouped[:, : left.shape[1]] = left
        items = grouped.reshape(left.shape[0], groups, self.group)
        if self.stationary:
            items = items.swapaxes(0, 1)  # [groups, vectors, M]
        outer = whole.row_passes * rows
        inner = whole.left_step * per_word
        padded = np.zeros((outer, inner, self.group), np.float16)
        padded[: items.shape[0], : items.shape[1]] = items
        words = np.zeros((outer, whole.left_step, LANES), np.float16)
        words[:, :, : per_word * self.group] = padded.reshape(outer, whole.left_step, -1)
        image = words.reshape(whole.row_passes, rows, whole.left_step, LANES).swapaxes(1, 2)
        return np.ascontiguousarray(image).reshape(-1).view(np.uint8)

    def _right_lay(self, items: NDArray[Any], shape: Shape) -> NDArray[Any]:
        """[groups, N, columns] in the order of the right bank: [column pass][word][cols]."""
        groups, n, columns = items.shape
        rows = shape.row_passes * self.array.rows if self.stationary else groups
        padded = np.zeros((rows * n, shape.column_passes * self.width), items.dtype)
        padded[: groups * n, :columns] = items.reshape(groups * n, columns)
        split = padded.reshape(rows * n, shape.column_passes, self.width)
        return np.ascontiguousarray(split.swapaxes(0, 1)).reshape(-1)

    def right_image(self, values: NDArray[np.float16]) -> Bytes:
        """Kept values [groups, N, columns] as they lie in memory."""
        return self._right_lay(values, self.whole).view(np.uint8)

    def plane_image(self, index: NDArray[np.int64]) -> Bytes:
        """Indices [groups, N, columns] as bit planes, tile by tile."""
        tiles: list[Bytes] = []
        for n in range(0, self.size["n"], self.tile["n"]):
            for k in range(0, self.size["k"], self.tile["k"]):
                tiles += self._tile_planes(index, n, k)
        return np.concatenate(tiles) if tiles else np.zeros(0, np.uint8)

    def _tile_planes(self, index: NDArray[np.int64], n: int, k: int) -> list[Bytes]:
        columns = min(self.tile["n"], self.size["n"] - n)
        depth = min(self.tile["k"], self.size["k"] - k)
        shape = shape_of(self.matmul(1, depth, columns, accumulate=False), self.array)
        first = k // self.group
        part = index[first : first + shape.groups, :, n : n + columns]
        flat = self._right_lay(part, shape)
        planes: list[Bytes] = []
        for bit in range(self.planes):
            packed = np.packbits((flat >> bit & 1).astype(np.uint8), bitorder="little")
            plane = np.zeros(self.plane_pitch, np.uint8)
            plane[: packed.size] = packed
            planes.append(plane)
        return planes

    def outputs(
        self,
        left: NDArray[np.float16],
        values: NDArray[np.float16],
        index: NDArray[np.int64],
    ) -> NDArray[np.uint32]:
        """The product's bits, summed tile by tile in the machine's order."""
        bits = np.zeros((self.size["m"], self.size["n"]), np.uint32)
        for n in range(0, self.size["n"], self.tile["n"]):
            sums: NDArray[np.float32] | None = None
            for k in range(0, self.size["k"], self.tile["k"]):
                x = left[:, k : k + self.tile["k"]]
                first, count = k // self.group, ceil_div(x.shape[1], self.group)
                part = np.s_[first : first + count, :, n : n + self.tile["n"]]
                work = self.matmul(x.shape[0], x.shape[1], values[part].shape[2], accumulate=k > 0)
                tile = Tile(work, x, values[part], index[part], sums)
                sums = expected(tile, self.array).view(np.float32)
            assert sums is not None
            bits[:, n : n + self.tile["n"]] = sums.view(np.uint32)
        return bits


def make_case(
    name: str,
    machine: Machine,
    job: Job,
    left: NDArray[np.float16],
    weights: NDArray[np.float16],
) -> Case:
    """The program of ``job`` on ``left`` [m, k] and ``weights`` [k, n], pruned to its pattern."""
    planner = _Planner(machine, job)
    values, index = compress(weights, job.pattern)
    images = {
        "left": planner.left_image(left),
        "right": planner.right_image(values),
        "planes": planner.plane_image(index),
        "output": np.full(job.m * planner.pitch, 0xA5, np.uint8),
    }
    tensors: dict[str, int] = {}
    end = 0
    for tensor, image in images.items():
        tensors[tensor] = end
        end += ceil_div(image.size, 4096) * 4096
    memory = np.zeros(end, np.uint8)
    for tensor, image in images.items():
        memory[tensors[tensor] : tensors[tensor] + image.size] = image
    after = memory.copy()
    bits = planner.outputs(left, values, index)
    if job.fused == "relu":
        sums = bits.view(np.float32)
        bits = np.where(sums <= 0, np.float32(0), sums).view(np.uint32)
    rows = bits.view(np.uint8) if job.wide else narrow(bits).view(np.uint8)
    area = after[tensors["output"] :][: job.m * planner.pitch].reshape(job.m, planner.pitch)
    area[:, : rows.shape[1]] = rows
    banks = machine.buffers.banks
    free = (Channel.LEFT_FREE, Channel.RIGHT_FREE, Channel.OUT_FREE)
    program = Program(
        (Segment(name, planner.program()),), tuple((channel, banks) for channel in free)
    )
    known = job.fused in ("", "relu")
    return Case(name, program, memory, tensors, after if known else None)
