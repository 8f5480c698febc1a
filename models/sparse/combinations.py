"""LBC (arXiv 2206.06662): every group keeps a set of combinations, the worst leave over time."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb

import torch

__all__ = ["MAX_COMBINATIONS", "best_combination", "combinations_left", "drop_combinations"]

MAX_COMBINATIONS = 128
"""Scores are kept for every combination of every group, so their number is bounded."""


@lru_cache(maxsize=32)
def combination_table(n: int, m: int) -> torch.Tensor:
    """All choices of ``n`` of ``m`` as a boolean table [combinations, m].

    Raises:
        ValueError: there are more than MAX_COMBINATIONS.
    """
    if comb(m, n) > MAX_COMBINATIONS:
        raise ValueError(
            f"recipe lbc: pattern {n}:{m} has {comb(m, n)} combinations per group; "
            f"at most {MAX_COMBINATIONS} are allowed"
        )
    table = torch.zeros(comb(m, n), m, dtype=torch.bool)
    for row, chosen in enumerate(combinations(range(m), n)):
        table[row, list(chosen)] = True
    return table


def combinations_left(total: int, progress: float) -> int:
    """How many of ``total`` are left at ``progress`` (0 to 1): a cubic down to one."""
    return max(1, round(1 + (total - 1) * (1 - min(1.0, progress)) ** 3))


def drop_combinations(
    scores: torch.Tensor, left: torch.Tensor, count: int, n: int, m: int
) -> torch.Tensor:
    """Of those ``left`` [groups, combinations], the ``count`` with the best element ``scores``.

    Args:
        scores: of elements, [groups, m].
        left: what is left so far.
        count: what may stay of each group.
        n: elements of a combination.
        m: elements of a group.
    """
    total = _totals(scores, left, n, m)
    best = total.argsort(dim=1, descending=True, stable=True)[:, :count]
    return left & torch.zeros_like(left).scatter_(1, best, True)


def best_combination(scores: torch.Tensor, left: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """The mask [groups, m] of the best combination left."""
    table = combination_table(n, m).to(scores.device)
    return table[_totals(scores, left, n, m).argmax(1)]


def _totals(scores: torch.Tensor, left: torch.Tensor, n: int, m: int) -> torch.Tensor:
    table = combination_table(n, m).to(scores)
    return (scores @ table.T).masked_fill(~left, -torch.inf)
