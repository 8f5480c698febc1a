"""Which tensors a step reads and makes on a machine whose operands lie in words, and how they lie.

Activations and gradients lie as [image][row][column][channels] with a border of zeros as wide as a
reader's window reaches; weights, their gradients and optimizer state as [tap][in][out]; compressed
weights "NAME:ff" and "NAME:bp" as [pass over columns][tap][group][N][columns], each bit of their
indices as a plane "... planes". "item3" is what the workload's item at position 3 makes, "input7"
the trace's tensor 7 where no item makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from weft.mapper.scheduling.fuse import Item
from weft.mapper.scheduling.words import LayoutError, taps_of
from weft.sim.pattern import Pattern
from weft.sim.workload import MaskWork, Product, Stage, UpdateOp, VectorOp

__all__ = ["ACTIVATIONS", "STATES", "VECTOR_OPS", "Grid", "Ints", "Tensors", "Weight"]

Ints = NDArray[np.int64]

ACTIVATIONS = ("gelu", "silu", "tanh", "sigmoid", "hardswish", "hardsigmoid", "mish")
"""Beside ReLU; each with its gradient."""

VECTOR_OPS = (
    *("relu", "threshold_backward", "add", "mul", "clone"),
    *ACTIVATIONS,
    *(f"{name}_backward" for name in ACTIVATIONS),
)
"""Vector ops that a step in words may have; WUVE runs them by the same names."""

STATES = {"sgd": (), "sgd-momentum": ("momentum",), "adamw": ("first", "second")}
"""What each optimizer keeps of a weight beside its master copy."""


@dataclass(frozen=True)
class Grid:
    """A tensor of pixels with their channels, inside a border of zeros."""

    images: int
    height: int
    width: int
    channels: int
    border: int = 0

    @property
    def pixels(self) -> int:
        return self.images * self.height * self.width

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """With its border, as it lies in memory."""
        edge = 2 * self.border
        return self.images, self.height + edge, self.width + edge, self.channels

    def address(self, image: Ints, row: Ints, column: Ints) -> Ints:
        """First byte of a pixel, which may lie in the border."""
        _, height, width, channels = self.shape
        place = (image * height + row + self.border) * width + column + self.border
        return place * 2 * channels

    def pixel(self, number: Ints) -> tuple[Ints, Ints, Ints]:
        """Image, row and column of pixels in order."""
        line, column = np.divmod(number, self.width)
        image, row = np.divmod(line, self.height)
        return image, row, column

    def first_byte(self, number: Ints) -> Ints:
        """First byte of pixels in order."""
        return self.address(*self.pixel(number))


@dataclass(frozen=True)
class Weight:
    """A weight [taps][rows][columns]; ``ff`` and ``bp`` are the patterns of its two layouts."""

    name: str
    taps: int
    rows: int
    columns: int
    ff: Pattern | None = None
    bp: Pattern | None = None

    @property
    def elements(self) -> int:
        return self.taps * self.rows * self.columns

    def plane_bytes(self, pattern: Pattern) -> int:
        """Bytes of one plane of a compressed layout."""
        return self.elements // pattern.m * pattern.n // 8


@dataclass
class Tensors:
    """Which tensor each item reads and makes, and how it lies."""

    items: Sequence[Item]
    grids: dict[str, Grid] = field(default_factory=dict[str, Grid])
    weights: dict[str, Weight] = field(default_factory=dict[str, Weight])

    def __post_init__(self) -> None:
        self.forward = {
            item.name: item
            for item in self.items
            if isinstance(item, Product) and item.stage is Stage.FF
        }
        self.backward = {
            item.name: item
            for item in self.items
            if isinstance(item, Product) and item.stage is Stage.BP
        }
        for position, item in enumerate(self.items):
            self._add(position, item)
        self._add_borders()

    @property
    def states(self) -> tuple[str, ...]:
        """The optimizer's state tensors."""
        used = sorted({item.optimizer for item in self.items if isinstance(item, UpdateOp)})
        if len(used) != 1 or used[0] not in STATES:
            raise LayoutError(f"optimizer {', '.join(used)}; words hold one of {', '.join(STATES)}")
        return STATES[used[0]]

    def _add(self, position: int, item: Item) -> None:
        match item:
            case Product():
                self._add_product(position, item)
            case VectorOp():
                source = self.operands(item)[0]
                self.grids[f"item{position}"] = replace(self.grids[source], border=0)
            case UpdateOp() | MaskWork():
                pass
            case _:
                assert_never(item)

    def _add_product(self, position: int, item: Product) -> None:
        if item.stage is Stage.WU:
            self._add_input(self.gradient_of(item), self._output_grid(self.forward[item.name]))
            return
        if item.stage is Stage.FF:
            self._add_input(self.left_of(item), self._input_grid(item))
            weight = Weight(item.right.parameter, taps_of(item), item.k // taps_of(item), item.n)
            self.weights.setdefault(item.right.parameter, weight)
            out = self._output_grid(item)
        else:
            self._add_input(self.left_of(item), self._output_grid(self.forward[item.name]))
            out = self._input_grid(self.forward[item.name])
        self.grids[f"item{position}"] = out
        if not item.pattern.is_dense:
            old = self.weights[item.right.parameter]
            self.weights[old.name] = (
                replace(old, ff=item.pattern)
                if item.stage is Stage.FF
                else replace(old, bp=item.pattern)
            )

    def _add_input(self, name: str, grid: Grid) -> None:
        known = self.grids.setdefault(name, grid)
        if (known.pixels, known.channels) != (grid.pixels, grid.channels):
            raise LayoutError(
                f"{name} is {known.pixels} pixels of {known.channels} channels for one reader and "
                f"{grid.pixels} of {grid.channels} for another, which words cannot be"
            )

    def _input_grid(self, item: Product) -> Grid:
        conv = item.convolution
        if conv is not None:
            return Grid(conv.images, *conv.in_size, conv.in_channels)
        known = self.grids.get(self.left_of(item))
        plain = Grid(1, 1, item.m, item.k)
        if known is None or (known.pixels, known.channels) != (plain.pixels, plain.channels):
            return plain
        return replace(known, border=0)

    def _output_grid(self, item: Product) -> Grid:
        conv = item.convolution
        if conv is not None:
            return Grid(conv.images, *conv.out_size, conv.out_channels)
        return replace(self._input_grid(item), channels=item.n)

    def _add_borders(self) -> None:
        for item in self.items:
            if not isinstance(item, Product) or item.convolution is None:
                continue
            conv = item.convolution
            reach = tuple(conv.padding)
            if item.stage is Stage.BP:
                reach = tuple(k - 1 - p for k, p in zip(conv.kernel, conv.padding, strict=True))
            name = self.left_of(item)
            old = self.grids[name]
            self.grids[name] = replace(old, border=max(old.border, *reach))

    def inputs(self) -> dict[str, str]:
        """The tensors from outside: the step's one input, and the gradient of its output."""
        gradients = {
            self.gradient_of(item) if item.stage is Stage.WU else self.left_of(item)
            for item in self.items
            if isinstance(item, Product) and item.stage is not Stage.FF
        }
        names = [name for name in self.grids if name.startswith("input")]
        found = {name: "gradient" if name in gradients else "activation" for name in names}
        if sorted(found.values()) != ["activation", "gradient"]:
            raise LayoutError(f"a step has one input and one output; here {found or 'none'}")
        return found

    def output(self) -> str:
        """What the last item of the forward pass makes."""
        forward = [
            position
            for position, item in enumerate(self.items)
            if isinstance(item, Product | VectorOp) and item.stage is Stage.FF
        ]
        return f"item{forward[-1]}"

    def left_of(self, item: Product) -> str:
        """The tensor behind a product's left operand."""
        if item.stage is Stage.WU:
            return self.left_of(self.forward[item.name])
        return f"item{item.inputs[0]}" if item.inputs else f"input{item.left.tensor}"

    def gradient_of(self, item: Product) -> str:
        """The output gradient of a WU product: what BP of the layer reads, if it has one."""
        if item.name in self.backward:
            return self.left_of(self.backward[item.name])
        activation = self.left_of(item)
        others = [f"item{i}" for i in item.inputs if f"item{i}" != activation]
        return others[0] if others else f"input{item.right.tensor}"

    def operands(self, item: VectorOp) -> list[str]:
        """The tensors that a vector op reads."""
        count = 2 if item.reads > item.elements else 1
        if len(item.inputs) != count or item.op.rstrip("_") not in VECTOR_OPS:
            known = ", ".join(VECTOR_OPS)
            raise LayoutError(
                f"{item.name}: vector op {item.op!r} of {count} operands has no place in words; "
                f"these have: {known}, on what other items make"
            )
        return [f"item{i}" for i in item.inputs]

    def sizes(self) -> dict[str, int]:
        """Bytes of every tensor."""
        found = {name: 2 * int(np.prod(grid.shape)) for name, grid in self.grids.items()}
        for position, item in enumerate(self.items):
            if isinstance(item, Product) and item.stage is Stage.WU:
                found[f"item{position}"] = 2 * item.m * item.n
        for weight in self.weights.values():
            found[f"{weight.name}:half"] = 2 * weight.elements
            for part in ("master", *self.states):
                found[f"{weight.name}:{part}"] = 4 * weight.elements
            for stage, pattern in (("ff", weight.ff), ("bp", weight.bp)):
                if pattern is not None:
                    plane = weight.plane_bytes(pattern)
                    found[f"{weight.name}:{stage}"] = 16 * plane
                    found[f"{weight.name}:{stage} planes"] = pattern.index_bits * plane
        return found
