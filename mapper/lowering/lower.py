"""Lower a training graph to a workload: products, vector ops, updates, and what is uncosted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from weft.mapper.lowering import attention, convolution, matmul, places, pooling, vector
from weft.mapper.lowering.context import Item, Lowering, owner_and_leaf
from weft.mapper.lowering.registry import REGISTRY
from weft.mapper.lowering.table import FREE, POINTWISE
from weft.mapper.lowering.vector import lower_pointwise
from weft.mapper.tracing.graph import Op, TrainingGraph
from weft.sim.workload import Product, Role, Stage, UpdateOp, VectorOp, Workload

__all__ = ["LayerRoles", "edge_layers", "lower"]

_FAMILIES = (attention, convolution, matmul, places, pooling, vector)
"""Importing a family registers its ops."""


def lower(graph: TrainingGraph) -> Workload:
    """The workload of one training step.

    Every op becomes a product, a vector op, a view (moves nothing; dependencies go through it),
    part of a parameter's update, or an entry of ``uncosted``.
    """
    lowering = Lowering(graph)
    for op in graph.ops:
        if op.stage is not Stage.OPTIMIZER:
            _lower(lowering, op)
    _updates(lowering)
    return Workload(
        model=graph.model,
        batch=graph.batch,
        items=tuple(lowering.items),
        uncosted=lowering.uncosted,
        parameters=graph.parameter_count,
        notes=graph.notes,
    )


def _lower(lowering: Lowering, op: Op) -> None:
    name = op.name
    in_place = name.rstrip("_") if name.endswith("_") else name
    if _makes_nothing(lowering, op):
        lowering.follow(op)
    elif rule := REGISTRY.get(name) or REGISTRY.get(in_place):
        rule(lowering, op)
    elif op.view or name in FREE:
        lowering.follow(op)
    elif op.pointwise or in_place in POINTWISE:
        lower_pointwise(lowering, op, POINTWISE.get(in_place, 1))
    else:
        lowering.leave_uncosted(op)


def _makes_nothing(lowering: Lowering, op: Op) -> bool:
    """Whether all that the op writes has no elements: an empty cache, an empty selection."""
    made = lowering.outputs(op)
    return bool(made) and not any(tensor.elements for tensor in made)


def _updates(lowering: Lowering) -> None:
    graph = lowering.graph
    for parameter in graph.parameters:
        if parameter.gradient is not None:
            lowering.emit(
                UpdateOp(
                    name=owner_and_leaf(parameter.name)[0] or graph.model,
                    parameter=parameter.name,
                    elements=parameter.elements,
                    optimizer=graph.optimizer,
                    state=graph.optimizer_state,
                    inputs=lowering.waits_for((parameter.gradient,)),
                ),
                (),
            )


@dataclass(frozen=True)
class LayerRoles:
    """Names of the products at the edges of a model, which recipes keep dense by default.

    ``stem``: products with a weight that no other weighted product and no embedding feeds; they
    read the model's input, or constants only (a learned map of fixed positions).
    ``classifier``: products with a weight that feed no other weighted product of the forward
    pass, in every use of the weight; if there is none, the last weighted product.
    """

    stem: frozenset[str]
    classifier: frozenset[str]


def edge_layers(workload: Workload) -> LayerRoles:
    """The first and the last weighted products between input and loss."""
    items = workload.items
    weighted = [i for i, item in enumerate(items) if _is_weighted(item)]
    fed, feeds = _fed_by_weights(items), _feeds_weights(items)
    stem = [i for i in weighted if not fed[i]]
    busy = {_parameter(items[i]) for i in weighted if feeds[i]}
    last = [i for i in weighted if _parameter(items[i]) not in busy] or weighted[-1:]
    return LayerRoles(_names(items, stem), _names(items, last))


def _is_weighted(item: Item) -> TypeGuard[Product]:
    return isinstance(item, Product) and item.stage is Stage.FF and item.right.role is Role.WEIGHT


def _parameter(item: Item) -> str:
    return item.right.parameter if isinstance(item, Product) else ""


def _fed_by_weights(items: Sequence[Item]) -> list[bool]:
    """For each item, whether a weighted product or an embedding comes before it."""
    fed: list[bool] = []
    for item in items:
        fed.append(any(fed[i] or _learns(items[i]) for i in item.inputs))
    return fed


def _feeds_weights(items: Sequence[Item]) -> list[bool]:
    """For each item, whether a weighted product of the forward pass comes after it."""
    feeds = [False] * len(items)
    for position in range(len(items) - 1, -1, -1):
        if feeds[position] or _is_weighted(items[position]):
            for source in items[position].inputs:
                feeds[source] = True
    return feeds


def _learns(item: Item) -> bool:
    return _is_weighted(item) or (isinstance(item, VectorOp) and item.op == "embedding")


def _names(items: Sequence[Item], positions: Iterable[int]) -> frozenset[str]:
    return frozenset(items[i].name for i in positions)
