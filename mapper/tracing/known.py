"""What is known of the values of fake tensors: those that follow from constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

__all__ = [
    "MOST_ELEMENTS",
    "Known",
    "Memory",
    "attach",
    "forget",
    "known_of",
    "lose",
    "lose_track",
    "memory_of",
    "settled",
]

MOST_ELEMENTS = 1 << 24
"""Larger tensors are never worked out: a mask of 4096 x 4096 is."""

_KNOWN = "_weft_known"


@dataclass
class Memory:
    """The storage behind real tensors; ``valid`` until something unknown is written into it."""

    valid: bool = True


@dataclass(frozen=True)
class Known:
    """The real tensor that a fake stands for, and whether its values follow from constants.

    A tensor that the user gave is not ``constant``: it may hold random numbers. ``assumed`` if
    random whole numbers went into it.
    """

    real: torch.Tensor
    constant: bool = False
    memory: Memory = field(default_factory=Memory)
    assumed: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Known:
        """A copy of a tensor has a memory of its own."""
        with _disable_current_modes():
            real = self.real.detach().clone()
        return Known(real, constant=self.constant, memory=memory_of(real), assumed=self.assumed)


_MEMORIES: dict[int, tuple[torch.Tensor, Memory]] = {}


def memory_of(real: torch.Tensor) -> Memory:
    """The memory that a real tensor and its views share."""
    return _MEMORIES.setdefault(real.untyped_storage()._cdata, (real, Memory()))[1]


def lose(known: Known) -> None:
    """Something unknown was written there."""
    known.memory.valid = False
    _MEMORIES.pop(known.real.untyped_storage()._cdata, None)


def lose_track() -> None:
    """Nobody writes any more."""
    _MEMORIES.clear()


def attach(fake: torch.Tensor, known: Known) -> None:
    setattr(fake, _KNOWN, known)


def forget(tensor: torch.Tensor) -> None:
    if hasattr(tensor, _KNOWN):
        delattr(tensor, _KNOWN)


def known_of(tensor: torch.Tensor) -> Known | None:
    """What is known of a fake tensor; a real one is known, if not to be a constant."""
    if not isinstance(tensor, FakeTensor):
        return Known(tensor)
    known: Known | None = getattr(tensor, _KNOWN, None)
    return known if known is not None and known.memory.valid else None


def settled(tensor: torch.Tensor) -> torch.Tensor | None:
    """The values of ``tensor`` if they may steer, else None.

    Whole numbers that were given may (lengths, labels, masks), and so may constants; weights, and
    fractions that were given and may be random, may not.
    """
    known = None if tensor.requires_grad else known_of(tensor)
    if known is None or known.real.is_meta or known.real.numel() > MOST_ELEMENTS:
        return None
    real = known.real
    if known.constant or not (real.is_floating_point() or real.is_complex()):
        return real
    with _disable_current_modes(), torch.no_grad():
        whole = not real.is_complex() and bool((real == real.round()).all())
    return real if whole else None
