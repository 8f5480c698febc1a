"""What a trace assumes where the data decide: each assumption has a name, and is told.

Shapes alone do not say how many boxes pass a threshold or which expert a token goes to. What is
assumed is the same in every run and for every machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

__all__ = ["NOTES", "Assumptions", "dealt_out", "quantiles", "spread"]

NOTES = {
    "balanced": "places chosen by score (experts, top k) are dealt out evenly",
    "selected-share": "a mask that the data decide keeps {share:.0%} of its elements",
    "checks": "a check that all elements of such a mask hold passes",
    "initial": "initial weights lie in the range that their initialiser wants",
    "random": "random numbers that steer lie evenly over their distribution",
    "seeded": "numbers that Python or NumPy drew are those of seed 0",
    "finite": "what is asked whether it is finite is",
    "matching": "boxes are matched to labels in their order; any matching costs the same",
}
"""Assumptions by name."""


@dataclass(frozen=True)
class Assumptions:
    """``selected_share``: of a mask that the data decide, the share that is kept, 0 to 1.

    Raises:
        ValueError: a share out of range.
    """

    selected_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.selected_share <= 1:
            raise ValueError(f"selected share is {self.selected_share:g}; it must be from 0 to 1")

    def notes(self, used: Iterable[str]) -> tuple[str, ...]:
        """A line for each assumption in ``used``."""
        share = self.selected_share
        return tuple(
            f"assumed ({name}): {NOTES[name].format(share=share)}" for name in sorted(set(used))
        )


def spread(shape: Iterable[int], share: float) -> torch.Tensor:
    """A mask of which ``share`` is true, evenly spaced."""
    shape = tuple(shape)
    places = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (((places + 1) * share).floor() > (places * share).floor()).reshape(shape)


def quantiles(shape: Iterable[int]) -> torch.Tensor:
    """Numbers evenly spread over (0, 1) that jump about; one alone is a half."""
    shape = tuple(shape)
    places = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (0.5 + places * 0.6180339887498949).frac().reshape(shape)


def dealt_out(shape: Iterable[int], axis: int, length: int) -> torch.Tensor:
    """Places 0 to ``length`` - 1 along ``axis``, dealt out one after the other."""
    shape = tuple(shape)
    if not shape:
        return torch.zeros((), dtype=torch.long)
    axis %= len(shape)
    rest = (*shape[:axis], *shape[axis + 1 :], shape[axis])
    places = torch.arange(torch.Size(shape).numel()).reshape(rest) % max(1, length)
    return places.movedim(-1, axis)
