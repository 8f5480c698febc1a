"""Selection by magnitude: N of every M, and the largest of a whole tensor.

Of equal magnitudes the one of lower index stays, as in a sorter that replaces only what is
strictly smaller; NaN counts as infinite.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

__all__ = ["group_mask", "group_threshold", "largest", "top_mask"]

_CHUNK_ELEMENTS = 1 << 18
"""Elements worked on at once, so that buffers stay in a second-level cache."""


@torch.library.custom_op("weft::group_mask", mutates_args=())
def group_mask(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """The ``n`` largest magnitudes of every ``m`` along dimension 1.

    Args:
        x: [outer, channels, inner]; groups are ``m`` consecutive channels, the last one padded
            with elements that are never kept before a real one.
        n: kept of each group.
        m: elements of a group.

    Returns:
        Boolean, of the shape of ``x``; exactly ``n`` in each whole group.
    """
    outer, channels, inner = x.shape
    padding = -channels % m
    padded = functional.pad(x, (0, 0, 0, padding)) if padding else x
    grouped = padded.reshape(-1, m, inner)
    mask = torch.empty(grouped.shape, dtype=torch.bool, device=x.device)
    rows = _rows_at_once(grouped)
    for start in range(0, len(grouped), rows):
        part = slice(start, start + rows)
        magnitude = _magnitudes(grouped[part])
        _mark(magnitude, n, mask[part].movedim(1, 0))
    whole = mask.reshape(outer, channels + padding, inner)
    return whole[:, :channels].contiguous() if padding else whole


@group_mask.register_fake
def _(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    return x.new_empty(x.shape, dtype=torch.bool)


def group_threshold(x: torch.Tensor, n: int, m: int) -> torch.Tensor:
    """The ``n``-th largest magnitude of each group, at every element; shapes as group_mask."""
    outer, channels, inner = x.shape
    padding = -channels % m
    padded = functional.pad(x, (0, 0, 0, padding)) if padding else x
    magnitude = _magnitudes(padded.reshape(-1, m, inner))
    least = _nth_largest(magnitude, n)
    spread = least.unsqueeze(1).expand(-1, m, -1).reshape(outer, channels + padding, inner)
    return spread[:, :channels].to(x.dtype)


def top_mask(x: torch.Tensor, count: int) -> torch.Tensor:
    """The ``count`` largest magnitudes of all of ``x``; of equal ones the first stay."""
    return largest(x.detach().abs().nan_to_num(nan=torch.inf, posinf=torch.inf), count)


def largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """The ``count`` largest of all ``scores``; of equal ones the first stay."""
    if count >= scores.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    flat = scores.flatten()
    least = torch.kthvalue(flat, flat.numel() - count + 1).values
    above, equal = flat > least, flat == least
    quota = count - above.sum()
    return (above | (equal & (equal.cumsum(0) <= quota))).view(scores.shape)


def _rows_at_once(grouped: torch.Tensor) -> int:
    if grouped.device.type != "cpu":
        return max(1, len(grouped))
    return max(1, _CHUNK_ELEMENTS // max(1, grouped[:1].numel()))


def _magnitudes(grouped: torch.Tensor) -> torch.Tensor:
    """[rows, m, inner] to contiguous magnitudes [m, rows, inner], at least in single precision."""
    dtype = torch.float64 if grouped.dtype == torch.float64 else torch.float32
    moved = grouped.detach().movedim(1, 0)
    out = torch.empty(moved.shape, dtype=dtype, device=grouped.device)
    return torch.abs(moved, out=out) if dtype == grouped.dtype else out.copy_(moved).abs_()


def _mark(magnitude: torch.Tensor, n: int, out: torch.Tensor) -> None:
    """Write the mask of groups [m, rows, inner] to ``out``."""
    least = _nth_largest(magnitude, n)
    torch.ge(magnitude, least, out=out)
    if int(out.sum()) == n * least.numel():
        return
    # Ties at the threshold, or NaN: fill what is left of the quota in the order of the index.
    magnitude = magnitude.nan_to_num(nan=torch.inf, posinf=torch.inf)
    least = _nth_largest(magnitude, n)
    above, equal = magnitude > least, magnitude == least
    quota = n - above.sum(0)
    out.copy_(above | (equal & (equal.cumsum(0) <= quota)))


def _nth_largest(magnitude: torch.Tensor, n: int) -> torch.Tensor:
    """The ``n``-th largest along dimension 0, by insertion into n (or m - n + 1) registers."""
    m = len(magnitude)
    if n > m - n + 1:
        return _insert(magnitude, m - n + 1, torch.minimum, torch.maximum)
    return _insert(magnitude, n, torch.maximum, torch.minimum)


def _insert(
    values: torch.Tensor, count: int, extreme: Callable[..., object], other: Callable[..., object]
) -> torch.Tensor:
    """Keep the ``count`` extreme values of dimension 0 in order, and return the last of them."""
    registers: list[torch.Tensor] = []
    spare, moving = torch.empty_like(values[0]), torch.empty_like(values[0])
    for value in values:
        moving.copy_(value)
        for position, register in enumerate(registers):
            extreme(register, moving, out=spare)
            if position < count - 1:
                other(register, moving, out=moving)
            registers[position], spare = spare, register
        if len(registers) < count:
            registers.append(moving.clone())
    return registers[-1]
