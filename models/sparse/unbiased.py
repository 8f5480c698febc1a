"""Unbiased N:M pruning of least variance (MVUE, Chmiel et al., arXiv 2203.10991).

Each element stays with a probability p in proportion to its magnitude, capped at 1, and is
divided by p. Among unbiased estimators that keep ``n`` elements this has the least variance,
since the variance sum(x^2 (1 - p) / p) depends on the probabilities alone.
"""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["keep_probabilities", "unbiased_groups"]


@torch.library.custom_op("weft::unbiased_groups", mutates_args=())
def unbiased_groups(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """A random tensor with mean ``x`` and at most ``n`` non-zeros of every ``m``.

    Groups are ``m`` consecutive elements along dimension 1 of [outer, channels, inner]. Draws
    from PyTorch's default generator.
    """
    outer, channels, inner = x.shape
    padded = functional.pad(x, (0, 0, 0, -channels % m))
    grouped = padded.reshape(-1, m, inner).double()
    probability = keep_probabilities(grouped.abs(), n)
    ends = probability.cumsum(1)
    # One uniform offset per group picks at unit distances: never more than n of them.
    offset = torch.rand(len(ends), 1, inner, dtype=ends.dtype, device=x.device)
    ticks = (ends + offset).clamp(max=n + offset).floor()
    before = functional.pad(ticks, (0, 0, 1, 0))[:, :-1]
    picked = (ticks > before) & (grouped != 0)
    kept = torch.where(picked, grouped / probability, 0.0)
    return kept.reshape(outer, -1, inner)[:, :channels].to(x.dtype).contiguous()


@unbiased_groups.register_fake
def _(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    return x.new_empty(x.shape)


def keep_probabilities(magnitude: torch.Tensor, n: int) -> torch.Tensor:
    """Probabilities in proportion to ``magnitude`` along dimension 1, at most 1, of sum ``n``.

    Where fewer than ``n`` are non-zero, those stay for certain.
    """
    certain = torch.zeros_like(magnitude, dtype=torch.bool)
    probability = torch.zeros_like(magnitude)
    for _ in range(n + 1):
        free = magnitude.masked_fill(certain, 0.0)
        left = n - certain.sum(1, keepdim=True)
        total = free.sum(1, keepdim=True).clamp(min=torch.finfo(magnitude.dtype).tiny)
        probability = torch.where(certain, 1.0, free / total * left)
        certain = certain | (probability >= 1.0)
    return probability.clamp(max=1.0)
