"""Build a zoo model with example inputs and its loss, ready to trace or to train."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from weft.models.zoo.entry import ZooModel
from weft.models.zoo.table import ZOO

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["build", "check_input"]


def build(
    name: str,
    batch: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
) -> tuple[nn.Module, torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """Build ``(model, example_inputs, loss_fn)``.

    Weights and inputs are created where the caller's mode or default device puts them, so a
    model of any size builds under ``FakeTensorMode`` or ``torch.device("meta")``.

    Raises:
        ValueError: a name that is not in the zoo, a batch below 1, a shape of another rank.
    """
    from weft.models.zoo.examples import example

    if name not in ZOO:
        raise ValueError(f"model {name!r} is not in the zoo; known: {', '.join(ZOO)}")
    entry = ZOO[name]
    size = entry.default_batch if batch is None else batch
    if size < 1:
        raise ValueError(f"batch is {size}; it must be at least 1")
    shape = entry.default_input if input_shape is None else tuple(input_shape)
    check_input(entry, shape)
    model = entry.module(shape, classes)
    inputs, loss_fn = example(entry, size, shape, classes or entry.classes)
    return model, inputs, loss_fn


def check_input(entry: ZooModel, shape: tuple[int, ...]) -> None:
    """Refuse a shape whose rank the model cannot take."""
    if len(shape) != len(entry.default_input) or min(shape) < 1:
        wanted = "C,H,W" if entry.kind == "image" else "T"
        given = ",".join(map(str, shape))
        raise ValueError(f"input {given!r} does not fit {entry.name}; it takes {wanted}, positive")
