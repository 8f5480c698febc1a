"""Bi-Mask (arXiv 2302.06058): a backward mask inside the forward mask, on permuted channels."""

from __future__ import annotations

import torch

from weft.models.sparse.groups import group_mask

__all__ = ["inside_mask", "search_permutation"]


def inside_mask(
    weight: torch.Tensor, forward: torch.Tensor, permutation: torch.Tensor, n: int, m: int
) -> torch.Tensor:
    """At most ``n`` of every ``m`` permuted output channels, all of them kept by ``forward``.

    Args:
        weight: [groups, output channels, the rest].
        forward: the FF mask, of the same shape.
        permutation: order of the output channels in which groups lie.
        n: most elements kept of a group.
        m: output channels of a group.
    """
    kept = torch.where(forward, weight, 0.0)[:, permutation]
    mask = torch.empty_like(forward)
    mask[:, permutation] = group_mask(kept, n, m)
    return mask & forward


def search_permutation(
    weight: torch.Tensor,
    forward: torch.Tensor,
    n: int,
    m: int,
    *,
    current: torch.Tensor,
    candidates: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """The permutation of output channels that keeps most magnitude.

    ``current`` competes with ``candidates`` random ones.
    """

    def kept(order: torch.Tensor) -> float:
        mask = inside_mask(weight, forward, order, n, m)
        return float(torch.where(mask, weight.abs(), 0.0).sum(dtype=torch.float64))

    channels = weight.shape[1]
    tried = [torch.randperm(channels, generator=generator) for _ in range(candidates)]
    return max([current, *(order.to(weight.device) for order in tried)], key=kept)
