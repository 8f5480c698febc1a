"""Addresses for a scheduled program: where every word of every tensor lies, in memory and on chip.

A schedule says how many bytes a transfer moves; for a machine whose operands lie in words
(``weft.mapper.scheduling.words``) this module says which. Nothing else changes: queues, order,
tokens, work and beats are those of the schedule, and a transfer becomes as many as its addresses
need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from weft.mapper.placement.tensors import Grid, Ints, Tensors, Weight
from weft.mapper.planning.plan import Plan, Planned
from weft.mapper.scheduling.emit import tiles_along
from weft.mapper.scheduling.fuse import Item
from weft.mapper.scheduling.schedule import Pick
from weft.mapper.scheduling.words import WORD, WORD_BYTES, LayoutError, mask_shape
from weft.sim.machine import Machine
from weft.sim.pattern import Pattern
from weft.sim.program import (
    Instruction,
    Node,
    Program,
    Queue,
    Reduce,
    Segment,
    Transfer,
    Update,
    Vector,
    expand,
)
from weft.sim.program.timing import ceil_div, transfer_beats
from weft.sim.reference.update import adamw_constants
from weft.sim.workload import MaskWork, Product, Stage, UpdateOp, VectorOp

__all__ = ["Hyperparameters", "Placed", "place"]


@dataclass(frozen=True)
class Hyperparameters:
    """What the optimizers need to know; ``step`` is AdamW's, the first is 1."""

    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    step: int = 1

    def constants(self, optimizer: str) -> tuple[float, ...]:
        """What an update instruction carries."""
        rate, decay = self.learning_rate, self.weight_decay
        if optimizer == "adamw":
            return adamw_constants(rate, *self.betas, self.epsilon, decay, self.step)
        return rate, self.momentum, decay


@dataclass(frozen=True)
class Placed:
    """A program with addresses, unrolled, and the bytes of each tensor it names.

    ``grids`` holds the activations and gradients, ``weights`` each weight by its parameter's name.
    ``inputs`` are the tensors that no item makes, "activation" or "gradient"; ``output`` is what
    the last forward item makes; ``states`` are the optimizer's tensors of each weight.
    """

    program: Program
    sizes: dict[str, int]
    grids: dict[str, Grid]
    weights: dict[str, Weight]
    inputs: dict[str, str]
    output: str
    states: tuple[str, ...]


@dataclass(frozen=True)
class _Pieces:
    """Runs of ``size`` bytes, from ``address`` in a tensor to ``place`` in a bank or back."""

    tensor: str
    buffer: str
    size: int
    address: Ints
    place: Ints
    chunk: int = 0
    chunk_stride: int = 0

    def transfers(self) -> list[Transfer]:
        """As few transfers as evenly spaced runs allow, in order."""
        works: list[Transfer] = []
        first, count = 0, self.address.size
        while first < count:
            last = first + 1
            if last < count:
                apart = self._gap(first)
                while last < count and self._gap(last - 1) == apart:
                    last += 1
            step, bank_step = self._gap(first) if last - first > 1 else (0, 0)
            works.append(
                Transfer(
                    ((last - first, self.size),),
                    self.buffer,
                    self.tensor,
                    base=int(self.address[first]),
                    run_stride=step,
                    offset=int(self.place[first]),
                    bank_stride=bank_step,
                    chunk=self.chunk,
                    chunk_stride=self.chunk_stride,
                )
            )
            first = last
        return works

    def _gap(self, index: int) -> tuple[int, int]:
        return (
            int(self.address[index + 1] - self.address[index]),
            int(self.place[index + 1] - self.place[index]),
        )


def _one(tensor: str, buffer: str, size: int, address: int, place: int = 0) -> list[Transfer]:
    return [Transfer(((1, size),), buffer, tensor, base=address, offset=place)]


class _Placer:
    """The transfers of every segment, operand by operand, in the order in which they run."""

    def __init__(self, plan: Plan, rates: Hyperparameters) -> None:
        self.plan, self.rates = plan, rates
        self.tensors = Tensors(plan.workload.items)
        self.machine: Machine = plan.machine
        self.array = plan.machine.array
        self.position = {id(item): place for place, item in enumerate(plan.workload.items)}

    def segment(self, planned: Planned) -> Segment:
        """The segment with addresses."""
        moves: dict[tuple[Queue, str], deque[list[Transfer]]] = {}
        works: dict[Queue, deque[Vector | Update | Reduce]] = {}
        for items, pick in ((planned.items, planned.pick), (planned.hidden, None)):
            for item in items:
                self._plan_item(item, pick, planned, moves, works)
        nodes: list[Node] = []
        for instruction in expand(planned.segment.body):
            nodes += self._place(instruction, moves, works)
        left_over = [key for key, queue in moves.items() if queue]
        assert not left_over, f"{planned.segment.name}: transfers without an instruction"
        return Segment(planned.segment.name, tuple(nodes), planned.segment.shadow)

    def _plan_item(
        self,
        item: Item,
        pick: Pick | None,
        planned: Planned,
        moves: dict[tuple[Queue, str], deque[list[Transfer]]],
        works: dict[Queue, deque[Vector | Update | Reduce]],
    ) -> None:
        match item:
            case Product():
                assert pick is not None
                moves |= self._product(item, pick)
            case VectorOp():
                name = item.op.rstrip("_")
                works[Queue.WUVE] = deque(
                    replace(work, op=name) for work in _works(planned, Vector)
                )
                moves |= self._vector(item, [work.elements for work in works[Queue.WUVE]])
            case UpdateOp():
                works[Queue.WUVE] = deque(
                    replace(work, constants=self.rates.constants(work.optimizer))
                    for work in _works(planned, Update)
                )
                moves |= self._update(item, [work.elements for work in works[Queue.WUVE]])
            case MaskWork():
                shape = mask_shape(item, self.plan.workload, self.machine)
                across = shape.width if item.axis == "k" else 0
                works[Queue.SORE] = deque(
                    replace(work, across=across) for work in _works(planned, Reduce)
                )
                moves |= self._mask(item, [work.groups for work in works[Queue.SORE]])

    def _place(
        self,
        instruction: Instruction,
        moves: dict[tuple[Queue, str], deque[list[Transfer]]],
        works: dict[Queue, deque[Vector | Update | Reduce]],
    ) -> list[Node]:
        match instruction.work:
            case Transfer(buffer=buffer):
                placed = moves[instruction.queue, buffer].popleft()
                self._check_beats(instruction, placed)
                last = len(placed) - 1
                return [
                    replace(
                        instruction,
                        work=work,
                        waits=instruction.waits if index == 0 else (),
                        signals=instruction.signals if index == last else (),
                    )
                    for index, work in enumerate(placed)
                ]
            case Vector() | Update() | Reduce():
                return [replace(instruction, work=works[instruction.queue].popleft())]
            case _:
                return [instruction]

    def _check_beats(self, instruction: Instruction, placed: Sequence[Transfer]) -> None:
        memory = self.machine.memory
        load = instruction.queue is Queue.LOAD
        width = memory.read_bytes_per_cycle if load else memory.write_bytes_per_cycle
        work = instruction.work
        assert isinstance(work, Transfer)
        planned = transfer_beats(work, width)
        found = sum(transfer_beats(part, width) for part in placed)
        if planned != found:
            raise LayoutError(
                f"a transfer of {work.buffer} takes {found} beats where it lies, {planned} in the "
                "schedule"
            )

    # Products.

    def _product(self, item: Product, pick: Pick) -> dict[tuple[Queue, str], deque[list[Transfer]]]:
        tiling, problem = pick.tiling, pick.problem
        outer, inner = tiling.outer, "n" if tiling.outer == "m" else "m"
        spans = {
            axis: list(_spans(getattr(problem, axis).size, tiling.size(axis))) for axis in "mnk"
        }
        loads: dict[str, list[list[Transfer]]] = {"m": [], "n": []}
        stores: list[list[Transfer]] = []
        resident = tiling.k >= problem.k.size
        for first in spans[outer]:
            if resident:
                loads[outer].append(self._load(item, outer, first, spans["k"][0]))
            for second in spans[inner]:
                for depth in spans["k"]:
                    if not resident:
                        loads[outer].append(self._load(item, outer, first, depth))
                    loads[inner].append(self._load(item, inner, second, depth))
                at = {outer: first, inner: second}
                stores.append(self._output(item, at["m"], at["n"]))
        return {
            (Queue.LOAD, "left"): deque(loads["m"]),
            (Queue.LOAD, "right"): deque(loads["n"]),
            (Queue.STORE, "output"): deque(stores),
        }

    def _load(self, item: Product, axis: str, own: range, depth: range) -> list[Transfer]:
        if axis == "m":
            return self._left(item, own, depth)
        if item.stage is Stage.WU:
            return self._gradient(item, own, depth)
        return self._weights(item, own)

    def _left(self, item: Product, own: range, depth: range) -> list[Transfer]:
        """Words of pixels by taps and channels; a row of the array has every ROWS-th pixel."""
        wu = item.stage is Stage.WU
        pixels, words = (depth, own) if wu else (own, range(self._words(item)))
        name = self.tensors.left_of(item)
        grid = self.tensors.grids[name]
        rows = self.array.rows
        count = len(words)
        # [pass over rows][word][row] is the order in the bank.
        number = np.arange(pixels.start, pixels.stop)
        local = number - pixels.start
        turn = local // rows
        order_pass, order_word, order_row = np.meshgrid(
            np.arange(ceil_div(len(pixels), rows)),
            np.arange(count),
            np.arange(rows),
            indexing="ij",
        )
        at = order_pass * rows + order_row
        inside = at < len(pixels)
        at, word = at[inside], order_word[inside]
        address = self._word_address(item, grid, number[at], word + words.start)
        place = ((turn[at] * count + word) * rows + at % rows) * WORD_BYTES
        return _Pieces(name, "left", WORD_BYTES, address, place).transfers()

    def _words(self, item: Product) -> int:
        """Words of a pixel's window."""
        return item.k // WORD

    def _word_address(self, item: Product, grid: Grid, pixel: Ints, word: Ints) -> Ints:
        """First byte of a word of the window of an output pixel (BP: of an input's)."""
        conv = item.convolution
        blocks = grid.channels // WORD
        tap, block = np.divmod(word, blocks)
        if conv is None:
            return grid.first_byte(pixel) + block * WORD_BYTES
        down, right = np.divmod(tap, conv.kernel[1])
        if item.stage is Stage.BP:
            image, row, column = Grid(conv.images, *conv.in_size, 1).pixel(pixel)
            row = row + conv.padding[0] - down
            column = column + conv.padding[1] - right
        else:
            image, row, column = Grid(conv.images, *conv.out_size, 1).pixel(pixel)
            row = row * conv.stride[0] + down - conv.padding[0]
            column = column * conv.stride[1] + right - conv.padding[1]
        return grid.address(image, row, column) + block * WORD_BYTES

    def _weights(self, item: Product, passes: range) -> list[Transfer]:
        """A compressed layout's passes, or a dense weight's rows."""
        weight = self.tensors.weights[item.right.parameter]
        width = self.array.cols * self.array.interleave
        if item.pattern.is_dense:
            depth = weight.taps * weight.rows
            turn, row = np.divmod(np.arange(len(passes) * depth), depth)
            address = 2 * (row * weight.columns + (turn + passes.start) * width)
            place = np.arange(len(passes) * depth) * 2 * width
            return _Pieces(f"{weight.name}:half", "right", 2 * width, address, place).transfers()
        pattern = item.pattern
        steps = item.k // pattern.m * pattern.n
        name = f"{weight.name}:{item.stage}"
        values = 2 * steps * width
        works = _one(name, "right", len(passes) * values, passes.start * values)
        plane = steps * width // 8
        for bit in range(pattern.index_bits):
            first = bit * weight.plane_bytes(pattern) + passes.start * plane
            works += _one(f"{name} planes", f"right_index{bit}", len(passes) * plane, first)
        return works

    def _gradient(self, item: Product, passes: range, pixels: range) -> list[Transfer]:
        """Output gradients [pass over columns][pixel][columns]."""
        name = self.tensors.gradient_of(item)
        grid = self.tensors.grids[name]
        cols = self.array.cols
        turn, pixel = np.divmod(np.arange(len(passes) * len(pixels)), len(pixels))
        address = grid.first_byte(pixel + pixels.start) + 2 * cols * (turn + passes.start)
        place = np.arange(len(passes) * len(pixels)) * 2 * cols
        return _Pieces(name, "right", 2 * cols, address, place).transfers()

    def _output(self, item: Product, own: range, passes: range) -> list[Transfer]:
        if item.stage is Stage.WU:
            return self._weight_gradient(item, own, passes)
        rows, width = self.array.rows, self.array.cols * self.array.interleave
        name = f"item{self.position[id(item)]}"
        number = np.arange(len(own))
        line = 4 * width
        # Rows leave the array the last one first.
        last = (number // rows * len(passes) + 1) * rows - 1
        place = (last - number % rows) * line
        address = self.tensors.grids[name].first_byte(number + own.start) + 2 * width * passes.start
        size = 2 * width * len(passes)
        return _Pieces(name, "output", size, address, place, line, rows * line).transfers()

    def _weight_gradient(self, item: Product, words: range, passes: range) -> list[Transfer]:
        cols = self.array.cols
        name = f"item{self.position[id(item)]}"
        number = np.arange(len(words) * WORD)
        line = 4 * cols
        address = 2 * ((number + words.start * WORD) * item.n + passes.start * cols)
        size = 2 * cols * len(passes)
        stride = number.size * line
        return _Pieces(name, "output", size, address, number * line, line, stride).transfers()

    # Streams.

    def _vector(
        self, item: VectorOp, chunks: Sequence[int]
    ) -> dict[tuple[Queue, str], deque[list[Transfer]]]:
        lanes = self.machine.wuve.lanes
        operands = self.tensors.operands(item)
        own = f"item{self.position[id(item)]}"
        loads: deque[list[Transfer]] = deque()
        stores: deque[list[Transfer]] = deque()
        for chunk in _consecutive(chunks):
            first = np.arange(chunk.start, chunk.stop, lanes)
            turn = np.arange(first.size)
            works: list[Transfer] = []
            for index, name in enumerate(operands):
                place = (turn * len(operands) + index) * 2 * lanes
                works += self._elements(name, "vector_half", first, place)
            loads.append(works)
            stores.append(self._elements(own, "vector_half", first, turn * 2 * lanes))
        return {(Queue.LOAD, "vector"): loads, (Queue.STORE, "vector"): stores}

    def _elements(self, name: str, buffer: str, first: Ints, place: Ints) -> list[Transfer]:
        """Rounds of WUVE, each beginning with element ``first`` of a grid."""
        grid = self.tensors.grids[name]
        pixel, channel = np.divmod(first, grid.channels)
        address = grid.first_byte(pixel) + 2 * channel
        return _Pieces(name, buffer, 2 * self.machine.wuve.lanes, address, place).transfers()

    def _update(
        self, item: UpdateOp, chunks: Sequence[int]
    ) -> dict[tuple[Queue, str], deque[list[Transfer]]]:
        name, gradient = item.parameter, f"item{item.inputs[0]}"
        lanes = self.machine.wuve.lanes
        loads: deque[list[Transfer]] = deque()
        stores: deque[list[Transfer]] = deque()
        for chunk in _consecutive(chunks):
            size, first = len(chunk), chunk.start
            state = 4 * ceil_div(size, lanes) * lanes
            both = [
                transfer
                for place, part in enumerate(("master", *self.tensors.states))
                for transfer in _one(f"{name}:{part}", "vector", 4 * size, 4 * first, place * state)
            ]
            loads.append([*both, *_one(gradient, "vector_half", 2 * size, 2 * first)])
            stores.append([*both, *_one(f"{name}:half", "vector_half", 2 * size, 2 * first)])
        return {(Queue.LOAD, "vector"): loads, (Queue.STORE, "vector"): stores}

    def _mask(
        self, item: MaskWork, groups: Sequence[int]
    ) -> dict[tuple[Queue, str], deque[list[Transfer]]]:
        shape = mask_shape(item, self.plan.workload, self.machine)
        weight, pattern = self.tensors.weights[item.parameter], item.pattern
        stage = "ff" if item.axis == "k" else "bp"
        slots = shape.rows // pattern.m * pattern.n  # of one unit
        values, plane = 2 * slots * shape.width, slots * shape.width // 8
        loads: deque[list[Transfer]] = deque()
        stores: deque[list[Transfer]] = deque()
        per_unit = shape.unit_elements // pattern.m
        for chunk in _consecutive([count // per_unit for count in groups]):
            turn, tap = np.divmod(np.arange(chunk.start, chunk.stop), shape.taps)
            gather = self._rows_of if stage == "ff" else self._groups_of
            address, size = gather(weight, pattern, turn, tap)
            place = np.arange(address.size) * size
            loads.append(_Pieces(f"{weight.name}:half", "mask", size, address, place).transfers())
            name, first, count = f"{weight.name}:{stage}", chunk.start, len(chunk)
            works = _one(name, "mask", count * values, first * values)
            for bit in range(pattern.index_bits):
                at = bit * weight.plane_bytes(pattern) + first * plane
                works += _one(f"{name} planes", f"mask_index{bit}", count * plane, at)
            stores.append(works)
        return {(Queue.LOAD, "mask"): loads, (Queue.STORE, "mask"): stores}

    def _rows_of(self, weight: Weight, pattern: Pattern, turn: Ints, tap: Ints) -> tuple[Ints, int]:
        """FF: rows of one pass of columns, groups running down them."""
        width = self.array.cols * self.array.interleave
        row = np.arange(weight.rows)
        address = (tap[:, None] * weight.rows + row) * weight.columns + turn[:, None] * width
        return 2 * address.reshape(-1), 2 * width

    def _groups_of(
        self, weight: Weight, pattern: Pattern, turn: Ints, tap: Ints
    ) -> tuple[Ints, int]:
        """BP: groups of one row each, of as many rows as a pass has columns."""
        width = self.array.cols * self.array.interleave
        group = np.arange(weight.columns // pattern.m)[:, None] * pattern.m
        row = turn[:, None, None] * width + np.arange(width)
        address = (tap[:, None, None] * weight.rows + row) * weight.columns + group
        return 2 * address.reshape(-1), 2 * pattern.m


Kind = TypeVar("Kind", Vector, Update, Reduce)


def _works(planned: Planned, kind: type[Kind]) -> Iterator[Kind]:
    for instruction in expand(planned.segment.body):
        if isinstance(instruction.work, kind):
            yield instruction.work


def _spans(size: int, tile: int) -> Iterator[range]:
    """First and last unit of every tile along an axis."""
    return _consecutive([units for count, units in tiles_along(size, tile) for _ in range(count)])


def _consecutive(sizes: Sequence[int]) -> Iterator[range]:
    first = 0
    for size in sizes:
        yield range(first, first + size)
        first += size


def place(plan: Plan, rates: Hyperparameters | None = None) -> Placed:
    """The plan's program with addresses.

    Raises:
        LayoutError: something in the step that a layout in words cannot hold, or a machine that
            lays its operands in blocks.
    """
    if not plan.machine.memory.in_words:
        raise LayoutError(f'{plan.machine.name}: memory.layout = "blocks"; addresses need "words"')
    placer = _Placer(plan, rates or Hyperparameters())
    segments = tuple(placer.segment(planned) for planned in plan.segments)
    return Placed(
        Program(segments, plan.program.tokens),
        placer.tensors.sizes(),
        placer.tensors.grids,
        placer.tensors.weights,
        placer.tensors.inputs(),
        placer.tensors.output(),
        placer.tensors.states,
    )
