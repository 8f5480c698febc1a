"""Example inputs of a zoo model, and the loss bound to their targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from weft.models.losses import cross_entropy, masked_token, next_token
from weft.models.zoo.entry import ZooModel

__all__ = ["example"]


def example(
    entry: ZooModel, batch: int, shape: tuple[int, ...], classes: int
) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """Random inputs [batch, *shape] and a loss of the model's output alone."""
    if entry.kind == "image":
        labels = torch.randint(classes, (batch,))
        return torch.randn(batch, *shape), partial(cross_entropy, labels=labels)
    tokens = torch.randint(classes, (batch, *shape))
    loss = masked_token if entry.objective == "masked-token" else next_token
    return tokens, partial(loss, labels=tokens)
