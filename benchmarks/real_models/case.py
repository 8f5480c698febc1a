"""A model that nobody here wrote, built from its configuration alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Build", "Case", "cases", "library", "tokens"]

Build = Callable[[], Any]
"""Returns ``(model, example_inputs)`` or ``(model, example_inputs, loss_fn)``."""


@dataclass(frozen=True)
class Case:
    """``counter`` is the device on which PyTorch's own counter runs the step: "meta" for models
    whose shapes alone decide what runs, "cpu" for small ones that look at values, "" where the
    data decide how much is computed, so that nothing can be equal. ``twin`` builds what the
    counter sees instead: the same products with kernels that it counts, with no layer dropped.
    """

    name: str
    library: str
    build: Build
    counter: str = "meta"
    twin: Build | None = None


def tokens(*shape: int) -> Any:
    """Token numbers, labels: all 1."""
    import torch

    return torch.ones(*shape, dtype=torch.long)


def library(name: str) -> Any:
    """A library that only `make models` installs."""
    return importlib.import_module(name)


def cases(name: str, builds: Mapping[str, Build], counter: str = "meta") -> tuple[Case, ...]:
    """Cases of one library."""
    return tuple(Case(model, name, build, counter) for model, build in builds.items())
