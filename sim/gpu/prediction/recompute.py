"""Which items of a step run once more in the backward pass, by activation checkpointing."""

from __future__ import annotations

from collections.abc import Mapping

from weft.sim.workload import Product, Stage, VectorOp, Workload

__all__ = ["recomputed_share"]


def recomputed_share(
    workload: Workload, checkpoint: str, parts: Mapping[int, str]
) -> dict[int, float]:
    """How often each item runs again, by position; ``parts`` says what kind of work each is.

    Blocks end before the last forward product with a weight (the head, never checkpointed).
    """
    if checkpoint == "none":
        return {}
    forward = [
        position
        for position, item in enumerate(workload.items)
        if isinstance(item, Product | VectorOp) and item.stage is Stage.FF
    ]
    weighted = [
        at
        for at in forward
        if isinstance(item := workload.items[at], Product) and item.right.parameter
    ]
    end = weighted[-1] if weighted else len(workload.items)
    inside = [at for at in forward if at < end]
    if checkpoint == "full":
        return dict.fromkeys(inside, 1.0)
    if checkpoint == "selective":
        return {at: 1.0 for at in inside if parts.get(at) == "attention"}
    worth = {"products": 0.5, "elementwise": 1.0}
    return {at: worth[parts[at]] for at in inside if parts.get(at) in worth}
