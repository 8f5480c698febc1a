"""Items that run as one: vector ops behind what feeds them, layouts behind their update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weft.sim.workload import MaskWork, Product, UpdateOp, VectorOp, Workload

__all__ = ["Group", "Item", "VectorCost", "group_items", "loads_something", "vector_cost"]

Item = Product | VectorOp | UpdateOp | MaskWork


@dataclass(frozen=True)
class Group:
    """Positions of workload items that share one segment of the program, the head first.

    ``needed`` says, member by member, whether its result is read by items outside the group.
    """

    members: tuple[int, ...]
    needed: tuple[bool, ...]

    @property
    def head(self) -> int:
        return self.members[0]

    @property
    def tail(self) -> tuple[int, ...]:
        return self.members[1:]


@dataclass(frozen=True)
class VectorCost:
    """A chain of vector ops as one stream: lane operations per element, elements moved.

    ``rows``, ``channels``, ``programs`` and ``constants`` are those of its head.
    """

    elements: int
    passes: int
    read_bytes: int
    write_bytes: int
    rows: int = 0
    channels: bool = False
    programs: tuple[str, ...] = ()
    constants: tuple[float, ...] = ()


def _consumers(items: Sequence[Item]) -> list[set[int]]:
    consumers: list[set[int]] = [set() for _ in items]
    for position, item in enumerate(items):
        for source in item.inputs:
            consumers[source].add(position)
    return consumers


def _made_elements(item: Item) -> int:
    return item.output.elements if isinstance(item, Product) else item.elements


def _follows(item: Item, previous: Item, position: int, head: Item) -> bool:
    """Whether ``item`` can work on what ``previous`` makes while it is still on chip."""
    if not isinstance(item, VectorOp) or not item.elementwise or position - 1 not in item.inputs:
        return False
    if not isinstance(previous, Product | VectorOp) or _made_elements(previous) != item.elements:
        return False
    if isinstance(previous, VectorOp) and previous.scan is not None:
        return False
    # Behind a product there is no room for a second large operand.
    lone = item.reads - item.elements <= item.elements // 16
    return isinstance(head, VectorOp) or lone


def group_items(workload: Workload, *, apart: bool = False) -> list[Group]:
    """Partition the items into groups, in order; with ``apart`` each is one of its own."""
    items = workload.items
    if apart:
        return [Group((position,), (True,)) for position in range(len(items))]
    consumers = _consumers(items)
    groups: list[Group] = []
    position = 0
    while position < len(items):
        head = items[position]
        end = position + 1
        if isinstance(head, Product | VectorOp):
            while end < len(items) and _follows(items[end], items[end - 1], end, head):
                end += 1
        elif isinstance(head, UpdateOp):
            while end < len(items) and _pregenerates(items[end], position):
                end += 1
        members = tuple(range(position, end))
        inside = set(members)
        needed = tuple(bool(consumers[m] - inside) or m == end - 1 for m in members)
        groups.append(Group(members, needed))
        position = end
    return groups


def _pregenerates(item: Item, update: int) -> bool:
    return isinstance(item, MaskWork) and update in item.inputs


def loads_something(items: Sequence[Item], group: Group) -> bool:
    """Whether the group reads from memory: a fill does not."""
    head = items[group.head]
    return not isinstance(head, VectorOp) or vector_cost(items, group).read_bytes > 0


def vector_cost(items: Sequence[Item], group: Group) -> VectorCost:
    """The stream that the group's vector ops make; links inside the group stay on chip."""
    elements = passes = read = write = 0
    for position, needed in zip(group.members, group.needed, strict=True):
        op = items[position]
        if not isinstance(op, VectorOp):
            continue
        linked = op.elements if position != group.head else 0
        unstored = 0 if needed else op.elements
        done = op.scan or op
        elements = max(elements, done.elements)
        passes += done.passes
        read += max(0, done.reads - linked) * op.element_bytes
        write += max(0, done.writes - unstored) * op.element_bytes
    head = items[group.head]
    if not isinstance(head, VectorOp):
        return VectorCost(elements, passes, read, write)
    return VectorCost(
        elements, passes, read, write, head.rows, head.channels, head.programs, head.constants
    )
