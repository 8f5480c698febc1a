"""Losses: what a model's output is compared with."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["cross_entropy", "masked_token", "next_token"]


def cross_entropy(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy in nats of logits [batch, classes] against labels [batch]."""
    return functional.cross_entropy(output, labels)


def next_token(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of logits [batch, T, vocabulary] against the token that follows.

    ``labels`` are the input tokens [batch, T]; the last position has no follower.
    """
    return functional.cross_entropy(output[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def masked_token(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of logits [batch, T, vocabulary] against labels [batch, T].

    Positions that are not to be predicted carry -100 and do not count.
    """
    return functional.cross_entropy(output.flatten(0, 1), labels.flatten())
