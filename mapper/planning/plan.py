"""A workload becomes a Program: grouped, scheduled, and chained by what is stored and then read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from weft.mapper.planning.overlap import interleave
from weft.mapper.planning.pairing import Block, Pairing, best_pairs, feasible_pairs, in_order
from weft.mapper.planning.unbuilt import without_unbuilt
from weft.mapper.scheduling.chunks import lane_work, whole_units
from weft.mapper.scheduling.emit import Gate, emit_fence, emit_stream, gate_load, tile_loop
from weft.mapper.scheduling.fuse import (
    Group,
    Item,
    VectorCost,
    group_items,
    loads_something,
    vector_cost,
)
from weft.mapper.scheduling.schedule import Pick, Scheduler, start_tokens
from weft.mapper.scheduling.tiling import Fused
from weft.mapper.scheduling.words import MaskShape, mask_shape, without_loss
from weft.sim.machine import Machine
from weft.sim.pattern import Pattern
from weft.sim.program import (
    Channel,
    Instruction,
    Node,
    Program,
    Queue,
    Reduce,
    Segment,
    Transfer,
    Update,
)
from weft.sim.program.timing import ceil_div
from weft.sim.workload import MaskWork, Product, Role, Stage, UpdateOp, VectorOp, Workload

__all__ = ["Plan", "Planned", "make_plan"]

GRADIENT_BYTES = 2
MASTER_BYTES = 4
WEIGHT_BYTES = 2


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
class _Body:
    """The loops of a group; ``alone`` and ``pick`` as in ``Planned``."""

    nodes: tuple[Node, ...]
    pick: Pick | None = None
    alone: tuple[Node, ...] | None = None


@dataclass
class _Planner:
    """Builds segment bodies; equal ones are one object, so the engine works them out once."""

    scheduler: Scheduler
    workload: Workload
    bodies: dict[object, tuple[Node, ...]] = field(default_factory=dict[object, tuple[Node, ...]])
    times: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def items(self) -> Sequence[Item]:
        return self.workload.items

    @property
    def machine(self) -> Machine:
        return self.scheduler.machine

    def group(self, group: Group, gated: bool) -> _Body:
        """The loops of any group, by what heads it."""
        head = self.items[group.head]
        if isinstance(head, Product):
            pick, nodes = self.product(self.items, group, head, gated)
            return _Body(nodes, pick)
        if isinstance(head, VectorOp):
            return _Body(self.vector(vector_cost(self.items, group), gated))
        if isinstance(head, MaskWork):
            return _Body(self.mask(head, gated))
        tail = (self.items[place] for place in group.tail)
        masks = tuple(item for item in tail if isinstance(item, MaskWork))
        alone = self.update(head, (), gated) if masks else None
        return _Body(self.update(head, masks, gated), alone=alone)

    def both(self, product: tuple[Node, ...], stream: tuple[Node, ...]) -> tuple[Node, ...]:
        """A product with a stream in its shadow."""
        key = ("both", id(product), id(stream))
        if key not in self.bodies:
            self.bodies[key] = interleave(product, stream, self.machine.array)
        return self.bodies[key]

    def cycles(self, body: tuple[Node, ...]) -> int:
        """The body on an idle machine; bodies are kept, so their ids stay their own."""
        if id(body) not in self.times:
            tokens = start_tokens(self.machine, self.scheduler.switches)
            program = Program((Segment("", body),), tokens)
            self.times[id(body)] = self.scheduler.engine.run(program).cycles
        return self.times[id(body)]

    def saving(self, product: tuple[Node, ...], stream: tuple[Node, ...]) -> int:
        """Cycles that their overlap saves."""
        apart = self.cycles(product) + self.cycles(stream)
        return apart - self.cycles(self.both(product, stream))

    def extra(self, group: Group) -> int:
        """Cycles that a group's tail, fused work or layouts, adds to its head alone."""
        body = self.group(group, False)
        head = self.items[group.head]
        if isinstance(head, Product) and group.tail:
            alone = self.scheduler.body(head, Fused(), Gate())
        elif body.alone is not None:
            alone = body.alone
        else:
            return 0
        return max(0, self.cycles(body.nodes) - self.cycles(alone))

    def fenced(self, body: tuple[Node, ...]) -> tuple[Node, ...]:
        key = ("fence", id(body))
        if key not in self.bodies:
            self.bodies[key] = (*body, emit_fence())
        return self.bodies[key]

    def product(
        self, items: Sequence[Item], group: Group, product: Product, gated: bool
    ) -> tuple[Pick, tuple[Node, ...]]:
        cost = vector_cost(items, group)
        extra = sum(
            1
            for position, needed in zip(group.tail, group.needed[1:], strict=True)
            if needed and isinstance(items[position], VectorOp)
        )
        stores = max(1, extra + group.needed[0]) if group.tail else 1
        fused = Fused(cost.passes, stores)
        body = self.scheduler.body(product, fused, Gate(gated, _ahead(product)))
        return self.scheduler.pick(product, fused), body

    def vector(self, cost: VectorCost, gated: bool) -> tuple[Node, ...]:
        key = ("vector", cost, gated)
        if key not in self.bodies:
            widest = max(cost.read_bytes, cost.write_bytes, 1)
            if self.machine.memory.in_words:
                widest = max(widest, MASTER_BYTES * cost.elements)
            wuve, bank = self.machine.wuve, self.machine.buffers.vector_bytes
            fit = max(wuve.lanes, bank * cost.elements // widest)
            lanes = lane_work(cost, fit, wuve)
            self.bodies[key] = emit_stream(
                cost.elements,
                lanes.chunk,
                cost.read_bytes,
                cost.write_bytes,
                lanes.work,
                Queue.WUVE,
                Gate(gated),
            )
        return self.bodies[key]

    def mask(self, work: MaskWork, gated: bool) -> tuple[Node, ...]:
        """Prune a dense tensor that lies in memory."""
        if self.machine.memory.in_words:
            return self.mask_words(work, mask_shape(work, self.workload, self.machine), gated)
        key = ("mask", work.elements, work.pattern, gated)
        if key not in self.bodies:
            read = work.elements * WEIGHT_BYTES
            chunk = self._chunk(work.elements, read, self.machine.buffers.mask_bytes)
            self.bodies[key] = emit_stream(
                work.elements,
                chunk,
                read,
                compressed_bytes(work.elements, work),
                lambda size: Reduce(work.pattern.groups(size), work.pattern),
                Queue.SORE,
                Gate(gated),
            )
        return self.bodies[key]

    def mask_words(self, work: MaskWork, shape: MaskShape, gated: bool) -> tuple[Node, ...]:
        """Prune a weight unit by unit, into the words of a right operand."""
        key = ("mask words", shape, work.pattern, gated)
        if key not in self.bodies:
            bank = self.machine.buffers.mask_bytes
            chunk = max(1, bank // (WEIGHT_BYTES * shape.unit_elements))
            nodes = tile_loop(
                shape.units,
                min(chunk, shape.units),
                lambda units, _: _mask_chunk(work.pattern, units * shape.unit_elements),
                gated,
            )
            self.bodies[key] = tuple(gate_load(nodes) if gated else nodes)
        return self.bodies[key]

    def update(self, op: UpdateOp, masks: tuple[MaskWork, ...], gated: bool) -> tuple[Node, ...]:
        patterns = tuple((mask.pattern, mask.axis) for mask in masks)
        key = ("update", op.elements, op.optimizer, op.state, patterns, gated)
        if key not in self.bodies:
            self.bodies[key] = self._update(op, masks, gated)
        return self.bodies[key]

    def _update(self, op: UpdateOp, masks: tuple[MaskWork, ...], gated: bool) -> tuple[Node, ...]:
        state = MASTER_BYTES * (1 + op.state)
        buffers = self.machine.buffers
        chunk = self._chunk(
            op.elements, (state + GRADIENT_BYTES) * op.elements, buffers.vector_bytes
        )
        if masks:
            chunk = min(
                chunk, self._chunk(op.elements, WEIGHT_BYTES * op.elements, buffers.mask_bytes)
            )
        nodes = tile_loop(
            op.elements, chunk, lambda size, _: _update_chunk(op, masks, size, state), gated
        )
        return tuple(gate_load(nodes) if gated else nodes)

    def _chunk(self, elements: int, widest_bytes: int, bank_bytes: int) -> int:
        """Elements per chunk: what a bank holds of the widest stream, in whole strips or rounds."""
        wuve = self.machine.wuve
        fit = max(wuve.lanes, bank_bytes * elements // widest_bytes)
        return whole_units(fit, elements, wuve.lanes, wuve.lanes * wuve.slots)


def _mask_chunk(pattern: Pattern, elements: int) -> list[Node]:
    """Load, prune, and store kept values and each plane of their indices."""
    groups = pattern.groups(elements)
    kept = groups * pattern.n
    load = Transfer(((1, WEIGHT_BYTES * elements),), "mask")
    store = Transfer(((1, WEIGHT_BYTES * kept), (pattern.index_bits, kept // 8)), "mask")
    reduce = Reduce(groups, pattern)
    return [
        Instruction(Queue.LOAD, load, (Channel.MASK_IN_FREE,), (Channel.MASK_IN_FULL,)),
        Instruction(
            Queue.SORE,
            reduce,
            (Channel.MASK_IN_FULL, Channel.MASK_OUT_FREE),
            (Channel.MASK_IN_FREE, Channel.MASK_OUT_FULL),
        ),
        Instruction(Queue.STORE, store, (Channel.MASK_OUT_FULL,), (Channel.MASK_OUT_FREE,)),
    ]


def compressed_bytes(elements: int, work: MaskWork) -> int:
    """Bytes of ``elements`` after pruning: kept values and their indices, packed."""
    bits = 8 * WEIGHT_BYTES + work.pattern.index_bits
    return ceil_div(work.pattern.kept(elements) * bits, 8)


def _update_chunk(
    op: UpdateOp, masks: tuple[MaskWork, ...], size: int, state_bytes: int
) -> list[Node]:
    """Load gradient, master weight and state; update; store them, the FP16 copy and layouts."""
    load = Transfer(((1, (state_bytes + GRADIENT_BYTES) * size),), "vector")
    store = Transfer(((1, (state_bytes + WEIGHT_BYTES) * size),), "vector")
    waits = [Channel.VIN_FULL, Channel.VOUT_FREE]
    signals = [Channel.VIN_FREE, Channel.VOUT_FULL]
    if masks:
        waits.append(Channel.VOUT_FROM_SORE)
        signals.append(Channel.VOUT_TO_SORE)
    nodes: list[Node] = [
        Instruction(Queue.LOAD, load, (Channel.VIN_FREE,), (Channel.VIN_FULL,)),
        Instruction(Queue.WUVE, Update(size, op.optimizer), tuple(waits), tuple(signals)),
        Instruction(Queue.STORE, store, (Channel.VOUT_FULL,), (Channel.VOUT_FREE,)),
    ]
    for index, mask in enumerate(masks):
        reduce = Reduce(mask.pattern.groups(size), mask.pattern)
        take = (Channel.VOUT_TO_SORE,) if index == 0 else ()
        give = (Channel.VOUT_FROM_SORE,) if index == len(masks) - 1 else ()
        packed = Transfer(((1, compressed_bytes(size, mask)),), "mask")
        nodes += [
            Instruction(
                Queue.SORE, reduce, (*take, Channel.MASK_OUT_FREE), (*give, Channel.MASK_OUT_FULL)
            ),
            Instruction(Queue.STORE, packed, (Channel.MASK_OUT_FULL,), (Channel.MASK_OUT_FREE,)),
        ]
    return nodes


def _ahead(product: Product) -> str:
    """The operand that does not depend on what was just computed, and may load early."""
    if product.stage is Stage.WU:
        return "left"
    return "right" if product.right.role is Role.WEIGHT else ""


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
    planner = _Planner(scheduler, workload)
    groups = group_items(workload, apart=in_words)
    apart = _lay_out(planner, [Block(group) for group in groups])
    pairing = _pairs(planner, groups)
    if pairing is None or not pairing.pairs:
        return Plan(workload, scheduler.machine, *apart)
    together = _lay_out(planner, in_order(groups, pairing.pairs))
    run = scheduler.engine.run
    if run(together[1]).cycles >= run(apart[1]).cycles:
        return Plan(workload, scheduler.machine, *apart)
    return Plan(workload, scheduler.machine, *together, pairing)


LEAST_SHARE = 1e-4
"""Streams that are less of the step than this are not paired: all of them save next to nothing."""


def _pairs(planner: _Planner, groups: Sequence[Group]) -> Pairing | None:
    """The pairs of products and streams that save most."""
    switches = planner.scheduler.switches
    if not (switches.overlap and switches.offline_scheduling):
        return None
    bodies = [planner.group(group, False).nodes for group in groups]
    alone = [planner.cycles(body) for body in bodies]
    least = LEAST_SHARE * sum(alone)
    pairs = [
        pair
        for pair in feasible_pairs(planner.items, groups)
        if min(alone[pair[0]], alone[pair[1]]) > least
    ]
    found = best_pairs(pairs, lambda pair: planner.saving(bodies[pair[0]], bodies[pair[1]]))
    return replace(found, open_cycles=sum(planner.extra(group) for group in groups))


def _lay_out(planner: _Planner, blocks: Sequence[Block]) -> tuple[tuple[Planned, ...], Program]:
    """The blocks in order, each waiting for what it reads."""
    items = planner.items
    waits = _chain(items, [block.whole for block in blocks])
    planned: list[Planned] = []
    for index, block in enumerate(blocks):
        gated = waits.gated[index]
        own = planner.group(block.group, gated)
        body = own.nodes
        if block.hidden is not None:
            body = planner.both(body, planner.group(block.hidden, False).nodes)
        if index in waits.fenced:
            body = planner.fenced(body)
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
    tokens = start_tokens(planner.machine, planner.scheduler.switches)
    program = Program(tuple(part.segment for part in planned), tokens)
    return tuple(planned), program


def _name(head: Item) -> str:
    return head.name if isinstance(head, MaskWork) else f"{head.name}:{head.stage}"
