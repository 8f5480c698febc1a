"""Unstructured connectivity that changes while training: RigL, SET and static random masks."""

from __future__ import annotations

import math

import torch

from weft.models.sparse.groups import largest

__all__ = ["drop_and_grow", "drop_share", "random_mask"]


def random_mask(like: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` elements at random."""
    score = torch.rand(like.numel(), generator=generator).to(like.device)
    return largest(score, count).view(like.shape)


def drop_share(first: float, step: int, last: float) -> float:
    """Share of connections to drop at ``step``: cosine from ``first`` to 0 at ``last``."""
    return first / 2 * (1 + math.cos(math.pi * min(1.0, step / max(1.0, last))))


def drop_and_grow(
    weight: torch.Tensor, mask: torch.Tensor, growth: torch.Tensor, share: float
) -> torch.Tensor:
    """Drop the smallest ``share`` of the kept weights, grow as many where ``growth`` is largest.

    What was dropped may grow again at once, as in the authors' code.
    """
    kept = int(mask.sum())
    changed = int(share * kept)
    stay = largest(torch.where(mask, weight.abs(), -1.0), kept - changed)
    grown = largest(torch.where(stay, -1.0, growth.abs()), min(changed, int((~stay).sum())))
    return stay | grown
