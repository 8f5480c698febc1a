"""What the zoo says of a model without building it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Kind", "ZooModel"]

Kind = Literal["image", "tokens"]


@dataclass(frozen=True)
class ZooModel:
    """One model of the zoo.

    Attributes:
        name: as on the command line.
        summary: one line.
        source: where the architecture and ``parameters`` are published.
        parameters: trainable parameters at the default input and classes; tied ones count once.
        default_batch: samples per step when the user names none.
        default_input: shape of one sample, (C, H, W) for images and (T,) for tokens.
        kind: "image" (float tensor) or "tokens" (integer tensor).
        classes: outputs of the classifier, or the size of the vocabulary.
        objective: "classes", "next-token" or "masked-token", what the loss predicts.
        builder: ``module:function``; the function takes (input_shape, classes), returns a module.
    """

    name: str
    summary: str
    source: str
    parameters: int
    default_batch: int
    default_input: tuple[int, ...]
    kind: Kind
    classes: int
    objective: Literal["classes", "next-token", "masked-token"]
    builder: str

    def module(self, input_shape: tuple[int, ...] | None = None, classes: int | None = None) -> Any:
        """The bare ``torch.nn.Module``, its weights wherever the caller's mode puts them."""
        place, _, function = self.builder.partition(":")
        build: Callable[[tuple[int, ...], int], Any]
        build = getattr(importlib.import_module(place), function)
        return build(input_shape or self.default_input, classes or self.classes)
