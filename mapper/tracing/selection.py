"""Ops of which the data decide how much they give: how many, by a named assumption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from weft.mapper.tracing.assumptions import dealt_out, spread
from weft.mapper.tracing.graph import Reference
from weft.mapper.tracing.replay import Replay, UnknownValueError

__all__ = ["RULES", "UNKNOWN_RESULTS", "any_mask", "by_places", "selected"]

UNKNOWN_RESULTS = frozenset(
    {
        "aten.masked_select.default",
        "aten.index.Tensor",
        "aten._ctc_loss.default",
        "aten._ctc_loss.Tensor",
    }
)
"""Ops of whose result only the size is assumed."""

_MASKS = (torch.bool, torch.uint8)


def any_mask(indices: Sequence[Any]) -> bool:
    """Whether an op is indexed by a mask."""
    return any(isinstance(index, torch.Tensor) and index.dtype in _MASKS for index in indices)


def by_places(indices: Sequence[Any]) -> list[Any]:
    """The places where masks hold in place of the masks: PyTorch's kernels look for them first."""
    found: list[Any] = []
    for index in indices:
        if isinstance(index, torch.Tensor) and index.dtype in _MASKS:
            found += torch.ops.aten.nonzero.default(index).unbind(1)
        else:
            found.append(index)
    return found


def selected(func: Any, args: tuple[Any, ...], arguments: tuple[Any, ...], replay: Replay) -> Any:
    """The result of an op for values that the data decide.

    Raises:
        UnknownValueError: no assumption has a name for it.
    """
    rule = RULES.get(str(func).removesuffix(".default"))
    if rule is None:
        raise UnknownValueError(str(func))
    with _disable_current_modes():
        return rule(args, arguments, replay)


Rule = Callable[[tuple[Any, ...], tuple[Any, ...], Replay], Any]


def _kept(shape: tuple[int, ...], replay: Replay) -> torch.Tensor:
    replay.used.add("selected-share")
    return spread(shape, replay.assumptions.selected_share)


def _places(args: tuple[Any, ...], arguments: tuple[Any, ...], replay: Replay) -> Any:
    return _kept(tuple(args[0].shape), replay).nonzero()


def _boxes(args: tuple[Any, ...], arguments: tuple[Any, ...], replay: Replay) -> Any:
    """Boxes that do not overlap a better one."""
    return _kept((args[0].shape[0],), replay).nonzero()[:, 0]


def _under_mask(args: tuple[Any, ...], arguments: tuple[Any, ...], replay: Replay) -> Any:
    """Elements where a mask holds; only how many there are is known."""
    shape = torch.broadcast_shapes(args[0].shape, args[1].shape)
    mask = replay.value(arguments[1].index)
    return torch.empty(int(mask.expand(shape).sum()), dtype=args[0].dtype)


def _distinct(args: tuple[Any, ...], arguments: tuple[Any, ...], replay: Replay) -> Any:
    """Distinct elements, where each came, and how often."""
    source = args[0]
    places = _kept((source.numel(),), replay).nonzero()[:, 0]
    count = max(1, len(places))
    back = dealt_out((source.numel(),), 0, count).reshape(source.shape)
    return (
        torch.zeros(count, dtype=source.dtype),
        back,
        torch.bincount(back.flatten(), minlength=count),
    )


def _repeats(args: tuple[Any, ...], arguments: tuple[Any, ...], replay: Replay) -> Any:
    """Each element as often as any other: once."""
    replay.used.add("balanced")
    return torch.arange(args[0].numel())


def _alignments(args: tuple[Any, ...], arguments: tuple[Any, ...], replay: Replay) -> Any:
    """The loss of each sequence by the CTC, and its states: twice the labels and one."""
    scores, labels = args[0], arguments[3]
    lengths = replay.value(labels.index).tolist() if isinstance(labels, Reference) else labels
    steps, samples = scores.shape[0], scores.shape[1] if scores.dim() == 3 else 1
    states = 2 * max(lengths, default=0) + 1
    return torch.empty(samples, dtype=scores.dtype), torch.empty(
        (samples, steps, states), dtype=scores.dtype
    )


RULES: dict[str, Rule] = {
    "aten.nonzero": _places,
    "aten.masked_select": _under_mask,
    "aten._ctc_loss": _alignments,
    "aten._ctc_loss.Tensor": _alignments,
    "aten._unique2": _distinct,
    "aten.unique_consecutive": _distinct,
    "aten.repeat_interleave.Tensor": _repeats,
    "torchvision.nms": _boxes,
}
"""Rules by op."""
