"""The loss of a model that comes without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.nn import functional

__all__ = ["default_loss"]


def default_loss(output: Any) -> torch.Tensor | None:
    """A scalar that costs what a training loss usually costs; None if nothing can be trained.

    An output with a tensor ``loss`` (transformers models given labels) is taken at its word.
    Otherwise ``logits``, else ``last_hidden_state``, else every floating-point tensor of the
    output that depends on a parameter is scored and the scores are added: cross-entropy over
    the last dimension for (samples, classes) and (samples, tokens, classes), the mean square
    for any other shape.
    """
    loss = _entry(output, "loss")
    if isinstance(loss, torch.Tensor):
        return loss
    for key in ("logits", "last_hidden_state"):
        if isinstance(tensor := _entry(output, key), torch.Tensor):
            return _score(tensor)
    floating = list(_floating(output))
    trained = [tensor for tensor in floating if tensor.requires_grad] or floating
    scores = [_score(tensor) for tensor in trained]
    return sum(scores[1:], scores[0]) if scores else None


def _entry(output: Any, key: str) -> Any:
    return output.get(key) if isinstance(output, Mapping) else getattr(output, key, None)


def _score(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dim() in (2, 3) and tensor.shape[-1] > 1:
        rows = tensor.flatten(0, -2)
        target = torch.zeros(rows.shape[0], dtype=torch.long, device=rows.device)
        return functional.cross_entropy(rows, target)
    return tensor.square().mean()


def _floating(value: Any) -> Iterator[torch.Tensor]:
    """The floating-point tensors in tuples, lists, dicts and attributes, each once."""
    seen: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop(0)
        if isinstance(item, torch.Tensor):
            if item.is_floating_point() and id(item) not in seen:
                seen.add(id(item))
                yield item
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, (tuple, list)):
            stack.extend(item)
        elif hasattr(item, "__dict__") and not isinstance(item, type):
            stack.extend(vars(item).values())
