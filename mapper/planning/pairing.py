"""Which streams run while which products do, and in what order: the choice across products.

Data: the step's groups in PyTorch's order. A *product* keeps the array busy, a *stream* (vector
ops, updates with their SORE passes, masks) the other units and the memory ports. A pair runs as
one segment at the place of the later of the two: the earlier one is put off, which its consumers
allow if the first of them comes after that place. Every group moves only later and never past a
consumer's old place, so any set of pairs with nobody in two is a legal order: which set saves
most is an assignment problem, solved exactly. A pair's saving is timed by the engine: both alone,
less both interleaved (``weft.mapper.planning.overlap``), each on an idle machine.

Left to the caller: emitting the pairs, and timing the whole program with and without them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from weft.mapper.scheduling.fuse import Group, Item
from weft.sim.workload import Product, Stage, UpdateOp

__all__ = ["Block", "Pairing", "best_pairs", "feasible_pairs", "greedy_pairs", "in_order"]

Pair = tuple[int, int]
"""Places of a product's and of a stream's group, in PyTorch's order."""


@dataclass(frozen=True)
class Block:
    """What runs as one segment: a group, with a stream's group in its shadow or without."""

    group: Group
    hidden: Group | None = None

    @property
    def whole(self) -> Group:
        """All members; the head is the group's own."""
        if self.hidden is None:
            return self.group
        members = (*self.group.members, *self.hidden.members)
        return Group(members, (*self.group.needed, *self.hidden.needed))


@dataclass(frozen=True)
class Pairing:
    """The choice made, and what it was chosen from; savings are in cycles of pairs alone.

    ``greedy_cycles`` is what taking the nearest free product for each stream in turn saves.
    ``open_cycles`` is the most that could still be saved by leaving vector ops apart from the
    product they are fused to, or a layout to be made at its use: all that either costs now.
    """

    pairs: tuple[Pair, ...]
    candidates: int
    saved_cycles: int
    greedy_cycles: int
    open_cycles: int = 0


def feasible_pairs(
    items: Sequence[Item], groups: Sequence[Group], among: Container[int] | None = None
) -> list[Pair]:
    """Every product and stream of which the earlier can be put off to the place of the later.

    Only the places ``among`` are paired, by default all; there are products times streams of pairs.
    """
    until = _latest_places(items, groups)
    places = [place for place in range(len(groups)) if among is None or place in among]
    products = [place for place in places if isinstance(items[groups[place].head], Product)]
    streams = [place for place in places if not isinstance(items[groups[place].head], Product)]
    return [
        (product, stream)
        for stream in streams
        for product in products
        if until[min(product, stream)] > max(product, stream)
    ]


def _latest_places(items: Sequence[Item], groups: Sequence[Group]) -> list[int]:
    """The first place at which each group would come too late; beyond the end if there is none.

    That is where what it makes is read, where the weight that it reads is updated, and for a
    forward product its layer's weight gradient, which loads the activation before it waits.
    """
    first = _first_consumers(items, groups)
    updates: dict[str, int] = {}
    gradients: dict[str, int] = {}
    for place, group in enumerate(groups):
        for member in group.members:
            item = items[member]
            if isinstance(item, UpdateOp):
                updates[item.parameter] = place
            elif isinstance(item, Product) and item.stage is Stage.WU:
                gradients.setdefault(item.name, place)
    for place, group in enumerate(groups):
        head = items[group.head]
        if isinstance(head, Product):
            first[place] = min(first[place], updates.get(head.right.parameter, len(groups)))
            if head.stage is Stage.FF:
                first[place] = min(first[place], gradients.get(head.name, len(groups)))
    return first


def _first_consumers(items: Sequence[Item], groups: Sequence[Group]) -> list[int]:
    """The place of the first group that reads what each one makes; beyond the end if none does."""
    owner = {member: place for place, group in enumerate(groups) for member in group.members}
    first = [len(groups)] * len(groups)
    for place, group in enumerate(groups):
        for member in group.members:
            for source in items[member].inputs:
                made = owner[source]
                if made != place:
                    first[made] = min(first[made], place)
    return first


def best_pairs(pairs: Sequence[Pair], saving: Callable[[Pair], int]) -> Pairing:
    """The pairs that save most together, nobody being in two; exact."""
    savings = {pair: found for pair in pairs if (found := saving(pair)) > 0}
    chosen = _assign(savings)
    greedy = greedy_pairs(savings)
    return Pairing(
        tuple(sorted(chosen, key=max)),
        len(pairs),
        sum(savings[pair] for pair in chosen),
        sum(savings[pair] for pair in greedy),
    )


def _assign(savings: Mapping[Pair, int]) -> list[Pair]:
    if not savings:
        return []
    products = sorted({product for product, _ in savings})
    streams = sorted({stream for _, stream in savings})
    row = {product: index for index, product in enumerate(products)}
    column = {stream: index for index, stream in enumerate(streams)}
    table = np.zeros((len(products), len(streams)))
    for (product, stream), cycles in savings.items():
        table[row[product], column[stream]] = cycles
    rows, columns = linear_sum_assignment(table, maximize=True)
    taken = [(products[r], streams[c]) for r, c in zip(rows, columns, strict=True)]
    return [pair for pair in taken if pair in savings]


def greedy_pairs(savings: Mapping[Pair, int]) -> list[Pair]:
    """For each stream in order the nearest free product."""
    taken: list[Pair] = []
    used: set[int] = set()
    for stream in sorted({stream for _, stream in savings}):
        free = [p for p, s in savings if s == stream and p not in used]
        if free:
            product = min(free, key=lambda place: abs(place - stream))
            used.add(product)
            taken.append((product, stream))
    return taken


def in_order(groups: Sequence[Group], pairs: Sequence[Pair]) -> list[Block]:
    """The groups as blocks: each pair at the place of its later member."""
    at = {max(pair): pair for pair in pairs}
    moved = {min(pair) for pair in pairs}
    blocks: list[Block] = []
    for place, group in enumerate(groups):
        if place in at:
            product, stream = at[place]
            blocks.append(Block(groups[product], groups[stream]))
        elif place not in moved:
            blocks.append(Block(group))
    return blocks
