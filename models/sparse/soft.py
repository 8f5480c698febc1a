"""Soft thresholding of S-STE (arXiv 2409.09099): a pruning function that is continuous in W."""

from __future__ import annotations

import torch

from weft.models.sparse.groups import group_threshold

__all__ = ["frozen_scale", "soft_threshold"]


def soft_threshold(weight: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """sign(w) max(|w| - t, 0), t the (n + 1)-th largest magnitude of the group.

    Groups are ``m`` along dimension 1 of [outer, channels, inner]; at most ``n`` stay.
    """
    if n == m:
        return weight
    threshold = group_threshold(weight, n + 1, m)
    return weight.sign() * (weight.abs() - threshold).clamp(min=0.0)


def frozen_scale(weight: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
    """beta = <W, S> / <S, S>, which makes beta S closest to W; 1 where S is zero."""
    power = soft.square().sum()
    return torch.where(power > 0, (weight * soft).sum() / power.clamp(min=1e-30), 1.0)
