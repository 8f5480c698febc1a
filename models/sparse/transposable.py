"""Masks that are N:M along both sides of every M x M block.

The best mask of a block is a minimum-cost flow (rows send N units each, columns take N each,
every edge carries at most one). It is found for all blocks at once by cancelling negative
cycles of the residual graph, from a greedy start; a flow without a negative cycle is optimal
(Klein 1967, doi 10.1287/mnsc.14.3.205).
"""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["best_blocks", "greedy_blocks", "transposable_mask"]

_BLOCKS_AT_ONCE = 1 << 14
_TOLERANCE = 1e-9
"""Gains below this share of a block's largest weight are rounding, not improvement."""


def transposable_mask(
    matrix: torch.Tensor, n: int, m: int, *, greedy: bool = False
) -> torch.Tensor:
    """A mask with ``n`` of every ``m`` along rows and along columns of ``matrix``.

    Args:
        matrix: [batch, rows, columns]; sides that are no multiple of ``m`` are padded with
            elements that are kept only where a real one cannot be.
        n: kept in each row and in each column of a block.
        m: side of a block.
        greedy: take the largest first (Hubara et al., arXiv 2102.08124), not the best.

    Returns:
        Boolean, of the shape of ``matrix``.
    """
    batch, rows, columns = matrix.shape
    magnitude = matrix.detach().abs().double().nan_to_num(nan=torch.inf, posinf=1e300)
    padded = functional.pad(magnitude, (0, -columns % m, 0, -rows % m), value=-1.0)
    high, wide = padded.shape[1] // m, padded.shape[2] // m
    blocks = padded.reshape(batch, high, m, wide, m).transpose(2, 3).reshape(-1, m, m)
    solve = greedy_blocks if greedy else best_blocks
    mask = torch.cat([solve(part, n) for part in blocks.split(_BLOCKS_AT_ONCE)])
    whole = mask.reshape(batch, high, wide, m, m).transpose(2, 3).reshape(padded.shape)
    return whole[:, :rows, :columns].contiguous()


def greedy_blocks(weights: torch.Tensor, n: int) -> torch.Tensor:
    """Largest first while row and column have room, then repaired to exactly ``n`` of each.

    Args:
        weights: [blocks, m, m].
        n: kept in each row and column.
    """
    blocks, m, _ = weights.shape
    mask = torch.zeros_like(weights, dtype=torch.bool)
    rows, columns = mask.new_zeros((2, blocks, m), dtype=torch.long)
    every = torch.arange(blocks, device=weights.device)
    order = weights.flatten(1).argsort(dim=1, descending=True, stable=True)
    for place in order.unbind(1):
        row, column = place // m, place % m
        room = (rows[every, row] < n) & (columns[every, column] < n)
        mask[every, row, column] = room
        rows[every, row] += room
        columns[every, column] += room
    return _repair(weights, mask, n)


def _repair(weights: torch.Tensor, mask: torch.Tensor, n: int) -> torch.Tensor:
    """Fill rows and columns that greedy left short, by the swap that costs least.

    A short row r and a short column c meet at a kept element, else greedy had taken it. Some
    kept (i, j) has (r, j) and (i, c) free: giving it up for both adds one to r and to c.
    """
    while True:
        short = (mask.sum(2) < n).nonzero()
        if not len(short):
            return mask
        block, first = _first_of_each(short)
        lacking = (mask[block].sum(1) < n).int().argmax(1)
        kept, values = mask[block], weights[block]
        each = torch.arange(len(block), device=weights.device)
        row_kept, column_kept = kept[each, first], kept[each, :, lacking]
        gain = values[each, first].unsqueeze(1) + values[each, :, lacking].unsqueeze(2) - values
        possible = kept & ~row_kept.unsqueeze(1) & ~column_kept.unsqueeze(2)
        best = gain.masked_fill(~possible, -torch.inf).flatten(1).argmax(1)
        row, column = best // mask.shape[1], best % mask.shape[1]
        mask[block, row, column] = False
        mask[block, first, column] = True
        mask[block, row, lacking] = True


def _first_of_each(pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of sorted (block, row) pairs the first row of each block."""
    block, row = pairs.unbind(1)
    fresh = torch.ones_like(block, dtype=torch.bool)
    fresh[1:] = block[1:] != block[:-1]
    return block[fresh], row[fresh]


def best_blocks(weights: torch.Tensor, n: int) -> torch.Tensor:
    """The mask of the largest sum with ``n`` in each row and column of [blocks, m, m]."""
    mask = greedy_blocks(weights, n)
    open_blocks = torch.arange(len(weights), device=weights.device)
    while len(open_blocks):
        improved, better = _cancel(weights[open_blocks], mask[open_blocks])
        mask[open_blocks] = better
        open_blocks = open_blocks[improved]
    return mask


def _cancel(weights: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cancel one negative cycle of each block's residual graph.

    Nodes are rows; the edge r to s through column c takes (r, c), which is free, and gives up
    (s, c), which is kept. Bellman-Ford from all rows at once; a row that still improves in round
    m is reached from a cycle.
    """
    blocks, m, _ = weights.shape
    cost, through = _row_edges(weights, mask)
    slack = _TOLERANCE * weights.abs().amax((1, 2))
    distance = weights.new_zeros(blocks, m)
    parent = mask.new_zeros((blocks, m), dtype=torch.long)
    improves = torch.zeros_like(mask[:, 0])
    for _ in range(m):
        shorter, source = (distance.unsqueeze(2) + cost).min(1)
        improves = shorter < distance - slack.unsqueeze(1)
        distance = torch.where(improves, shorter, distance)
        parent = torch.where(improves, source, parent)
    found = improves.any(1)
    which = found.nonzero().squeeze(1)
    new = mask.clone()
    _shift(new, which, _on_cycle(parent[which], improves[which]), parent, through)
    return found, new


def _row_edges(weights: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cost [blocks, from, to] of the cheapest edge between two rows, and its column."""
    take = torch.where(mask, torch.inf, -weights)
    give = torch.where(mask, weights, torch.inf)
    return (take.unsqueeze(2) + give.unsqueeze(1)).min(3)


def _on_cycle(parent: torch.Tensor, improves: torch.Tensor) -> torch.Tensor:
    """A row of each block that lies on a cycle of ``parent``."""
    row = improves.int().argmax(1)
    for _ in range(parent.shape[1]):
        row = parent.gather(1, row.unsqueeze(1)).squeeze(1)
    return row


def _shift(
    mask: torch.Tensor,
    which: torch.Tensor,
    start: torch.Tensor,
    parent: torch.Tensor,
    through: torch.Tensor,
) -> None:
    """Walk each block's cycle backwards from ``start`` and exchange along its edges."""
    row = start
    moving = torch.ones_like(which, dtype=torch.bool)
    while moving.any():
        block, to = which[moving], row[moving]
        source = parent[block, to]
        column = through[block, source, to]
        mask[block, source, column] = True
        mask[block, to, column] = False
        row = row.clone()
        row[moving] = source
        moving = moving & (row != start)
