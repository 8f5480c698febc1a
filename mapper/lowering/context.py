"""The state of lowering one graph: items so far, who makes which tensor, names of layers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from weft.mapper.lowering.analysis import Analysis
from weft.mapper.tracing.graph import Op, Reference, Tensor, TrainingGraph
from weft.sim.workload import (
    Convolution,
    MaskWork,
    Operand,
    Product,
    Role,
    Stage,
    Uncosted,
    UpdateOp,
    VectorOp,
)

__all__ = ["ForwardProduct", "Item", "Lowering", "Made", "owner_and_leaf"]

Item = Product | VectorOp | UpdateOp | MaskWork


# What pruning, weight normalisation and parametrizations make of the name "weight".
_RENAMED = re.compile(r"(?:(.*)\.)?(?:parametrizations\.(\w+)\.original\d*|(\w+)_(?:orig|v|g))")


def owner_and_leaf(parameter: str) -> tuple[str, str]:
    """The layer that has a parameter, and the parameter's name in it as the layer uses it."""
    if match := _RENAMED.fullmatch(parameter):
        return match[1] or "", match[2] or match[3]
    owner, _, leaf = parameter.rpartition(".")
    return owner, leaf


@dataclass(frozen=True)
class ForwardProduct:
    """A forward product, kept for the backward products that belong to it.

    ``left`` and ``right`` are its operands after orientation (right is the weight if there is
    one), ``layer`` its name without a mark of recomputation.
    """

    layer: str
    left: Operand
    right: Operand

    @property
    def has_weight(self) -> bool:
        return self.right.role is Role.WEIGHT


class Made(NamedTuple):
    """What came of an item: its name, and the positions that who needs its result waits for."""

    name: str
    positions: tuple[int, ...]


def _extent(item: Item) -> int:
    return item.macs_dense if isinstance(item, Product) else item.elements


class Lowering:
    """Collects the items of a workload while the ops of a graph are lowered in order."""

    def __init__(self, graph: TrainingGraph) -> None:
        self.graph = graph
        self.analysis = Analysis(graph)
        self.items: list[Item] = []
        self.forward: dict[int, list[ForwardProduct]] = {}
        self._producers: list[tuple[int, ...]] = [()] * len(graph.tensors)
        self._uncosted: Counter[tuple[str, str, Stage, int]] = Counter()
        self._uses: Counter[str] = Counter()
        self._owners = {
            name: position
            for position, parameter in enumerate(graph.parameters)
            for name in parameter.names
        }

    # Tensors

    def tensor(self, argument: Any) -> Tensor:
        """The tensor behind an argument of an op."""
        if not isinstance(argument, Reference):
            raise TypeError(f"{argument!r} is no tensor")
        return self.graph.tensors[argument.index]

    def inputs(self, op: Op) -> list[Tensor]:
        return list(self.graph.inputs_of(op))

    def outputs(self, op: Op) -> list[Tensor]:
        return list(self.graph.outputs_of(op))

    def operand(self, tensor: Tensor, role: Role | None = None) -> Operand:
        """A tensor as an operand; its role by where it comes from unless given."""
        position = self.analysis.weight[tensor.index]
        if role is None:
            role = self._role(tensor)
        name = self.graph.parameters[position].name if position is not None else ""
        parameter = name if role is Role.WEIGHT else ""
        return Operand(role, tensor.distinct, self.analysis.base[tensor.index], parameter)

    def _role(self, tensor: Tensor) -> Role:
        if self.analysis.weight[tensor.index] is not None:
            return Role.WEIGHT
        producer = self.graph.tensors[self.analysis.base[tensor.index]].producer
        backward = producer is not None and self.graph.ops[producer].stage is Stage.BP
        return Role.GRADIENT if backward else Role.ACTIVATION

    # Items

    def emit(self, item: Item, outputs: Iterable[int]) -> Made:
        """Append an item that makes the tensors ``outputs``.

        What has an extent of zero is dropped: who waits for it waits for what it waits for.
        """
        positions = item.inputs
        if _extent(item):
            positions = (len(self.items),)
            self.items.append(item)
        for output in outputs:
            self._producers[output] = positions
        return Made(item.name, positions)

    def waits_for(self, tensors: Iterable[int]) -> tuple[int, ...]:
        """Positions of the items that make the tensors, in the order of the tensors."""
        found = [position for index in tensors for position in self._producers[index]]
        return tuple(dict.fromkeys(found))

    def follow(self, op: Op) -> None:
        """The op moves nothing: who waits for its outputs waits for its inputs."""
        makers = self.waits_for(op.inputs)
        for output in op.outputs:
            self._producers[output] = makers

    def leave_uncosted(self, op: Op) -> None:
        elements = sum(tensor.elements for tensor in self.outputs(op))
        self._uncosted[op.path or self.graph.model, op.op, op.stage, elements] += 1
        self.follow(op)

    @property
    def uncosted(self) -> tuple[Uncosted, ...]:
        return tuple(
            Uncosted(name, op, stage, elements, count)
            for (name, op, stage, elements), count in self._uncosted.items()
        )

    def add_bias(self, op: Op, product: Made, bias: Tensor) -> None:
        """The addition that an op does to the product it makes."""
        output = self.outputs(op)[0]
        self.emit(
            VectorOp(
                name=product.name,
                stage=op.stage,
                op="bias",
                elements=output.elements,
                reads=output.elements + bias.distinct,
                writes=output.elements,
                elementwise=True,
                programs=("add",),
                inputs=tuple(dict.fromkeys((*product.positions, *self.waits_for((bias.index,))))),
            ),
            op.outputs,
        )

    def makes_only_parameter_gradients(self, op: Op) -> bool:
        return self.analysis.only_gradients[op.index]

    # Names

    def place(self, op: Op) -> str:
        """The name of a vector op: its module, or the model."""
        return op.path or self.graph.model

    def layer(self, op: Op, parameter: str, suffix: str = "") -> str:
        """The name of a forward product; the second use of one gets "#2", and so on."""
        name = self._layer_of(op.path, parameter) + suffix
        key = f"{name}:recompute" if op.recompute else name
        self._uses[key] += 1
        return name if self._uses[key] == 1 else f"{name}#{self._uses[key]}"

    def _layer_of(self, path: str, parameter: str) -> str:
        position = self._owners.get(parameter)
        if position is None:
            return path or self.graph.model
        places = [owner_and_leaf(name) for name in self.graph.parameters[position].names]
        owner, leaf = next((place for place in places if place[0] == path), places[0])
        owner = owner or self.graph.model
        return owner if leaf == "weight" else f"{owner}:{leaf}"

    # Products

    def forward_product(
        self,
        op: Op,
        sizes: tuple[int, int, int, int],
        left: Tensor,
        right: Tensor,
        output: Operand,
        *,
        suffix: str = "",
        convolution: Convolution | None = None,
        kind: str = "",
    ) -> Made:
        """Emit Y[m,n] = left[m,k] right[k,n], batch times; sizes are (m, k, n, batch).

        A weight on the left is brought to the right by transposing the whole product.
        """
        m, k, n, batch = sizes
        first, second = self.operand(left), self.operand(right)
        if first.role is Role.WEIGHT and second.role is not Role.WEIGHT:
            first, second, m, n = second, first, n, m
        elif first.role is Role.WEIGHT:
            first = self.operand(left, Role.ACTIVATION)
        name = self.layer(op, second.parameter, suffix)
        self.forward.setdefault(op.index, []).append(ForwardProduct(name, first, second))
        product = Product(
            name=f"{name}:recompute" if op.recompute else name,
            stage=Stage.FF,
            op=kind or op.name,
            m=m,
            k=k,
            n=n,
            batch=batch,
            left=first,
            right=second,
            output=output,
            inputs=self.waits_for((left.index, right.index)),
            convolution=convolution,
        )
        return self.emit(product, (output.tensor,) if output.tensor >= 0 else ())

    def forward_of(self, op: Op) -> list[ForwardProduct]:
        """The forward products of the autograd node that a backward op belongs to."""
        return [product for index in op.forward for product in self.forward.get(index, ())]
