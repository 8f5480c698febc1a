"""A workload becomes a Program: grouped, scheduled, and chained by what is stored and then read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from weft.mapper.planning.bodies import Bodies
from weft.mapper.planning.pairing import Block, Pairing, best_pairs, feasible_pairs, in_order
from weft.mapper.planning.unbuilt import without_unbuilt
from weft.mapper.scheduling.fuse import (
    Group,
    Item,
    group_items,
    loads_something,
)
from weft.mapper.scheduling.schedule import Pick, Scheduler, start_tokens
from weft.mapper.scheduling.words import without_loss
from weft.sim.machine import Machine
from weft.sim.program import (
    Node,
    Program,
    Segment,
)
from weft.sim.workload import MaskWork, Workload

__all__ = ["Plan", "Planned", "make_plan"]


@dataclass(frozen=True)
class Planned:
    """One segment of the program: the workload items it runs, and how the product was tiled.

    ``alone`` is, for an update that also makes layouts, the same body without them. ``hidden`` are
    the items of a stream that runs in the product's shadow, ``body`` the product without it.
    """

    items: tuple[Item, ...]
    pick: Pick | None
    segment: Segment
    alone: tuple[Node, ...] | None = None
    hidden: tuple[Item, ...] = ()
    body: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A workload laid out for one machine."""

    workload: Workload
    machine: Machine
    segments: tuple[Planned, ...]
    program: Program
    pairing: Pairing | None = None


@dataclass(frozen=True)
class _Waits:
    """Which groups wait for a stored tensor, and which groups must say that theirs is."""

    gated: tuple[bool, ...]
    fenced: frozenset[int]


def _chain(items: Sequence[Item], groups: Sequence[Group]) -> _Waits:
    """One wait for the latest tensor needed covers all earlier ones, since stores are in order.

    It is a load that waits; who loads nothing does not.
    """
    owner = {position: index for index, group in enumerate(groups) for position in group.members}
    waited = -1
    gated: list[bool] = []
    fenced: set[int] = set()
    for index, group in enumerate(groups):
        sources = {owner[source] for member in group.members for source in items[member].inputs}
        latest = max((source for source in sources if source != index), default=-1)
        waits = latest > waited and loads_something(items, group)
        gated.append(waits)
        if waits:
            waited = latest
            fenced.add(latest)
    return _Waits(tuple(gated), frozenset(fenced))


def make_plan(workload: Workload, scheduler: Scheduler) -> Plan:
    """Lay ``workload`` out on the scheduler's machine.

    Raises:
        ScheduleError: a product of which not one tile fits the buffers.
        LayoutError: what a machine whose operands lie in words cannot hold.
    """
    in_words = scheduler.machine.memory.in_words
    if in_words:
        workload = without_loss(workload)
    workload = without_unbuilt(workload)
    builder = Bodies(scheduler, workload)
    groups = group_items(workload, apart=in_words)
    apart = _lay_out(builder, [Block(group) for group in groups])
    pairing = _pairs(builder, groups)
    if pairing is None or not pairing.pairs:
        return Plan(workload, scheduler.machine, *apart)
    together = _lay_out(builder, in_order(groups, pairing.pairs))
    run = scheduler.engine.run
    if run(together[1]).cycles >= run(apart[1]).cycles:
        return Plan(workload, scheduler.machine, *apart)
    return Plan(workload, scheduler.machine, *together, pairing)


LEAST_SHARE = 1e-4
"""Streams that are less of the step than this are not paired: all of them save next to nothing."""


def _pairs(builder: Bodies, groups: Sequence[Group]) -> Pairing | None:
    """The pairs of products and streams that save most."""
    switches = builder.scheduler.switches
    if not (switches.overlap and switches.offline_scheduling):
        return None
    bodies = [builder.group(group, gated=False).nodes for group in groups]
    alone = [builder.cycles(body) for body in bodies]
    least = LEAST_SHARE * sum(alone)
    long = {place for place, cycles in enumerate(alone) if cycles > least}
    pairs = feasible_pairs(builder.items, groups, long)
    found = best_pairs(pairs, lambda pair: builder.saving(bodies[pair[0]], bodies[pair[1]]))
    return replace(found, open_cycles=sum(builder.extra(group) for group in groups))


def _lay_out(builder: Bodies, blocks: Sequence[Block]) -> tuple[tuple[Planned, ...], Program]:
    """The blocks in order, each waiting for what it reads."""
    items = builder.items
    waits = _chain(items, [block.whole for block in blocks])
    planned: list[Planned] = []
    for index, block in enumerate(blocks):
        gated = waits.gated[index]
        own = builder.group(block.group, gated=gated)
        body = own.nodes
        if block.hidden is not None:
            body = builder.both(body, builder.group(block.hidden, gated=False).nodes)
        if index in waits.fenced:
            body = builder.fenced(body)
        members = tuple(items[place] for place in block.group.members)
        hidden = () if block.hidden is None else block.hidden.members
        shadow = _name(items[hidden[0]]) if hidden else ""
        planned.append(
            Planned(
                members,
                own.pick,
                Segment(_name(members[0]), body, shadow),
                own.alone,
                tuple(items[place] for place in hidden),
                own.nodes if hidden else (),
            )
        )
    tokens = start_tokens(builder.machine, builder.scheduler.switches)
    program = Program(tuple(part.segment for part in planned), tokens)
    return tuple(planned), program


def _name(head: Item) -> str:
    return head.name if isinstance(head, MaskWork) else f"{head.name}:{head.stage}"
