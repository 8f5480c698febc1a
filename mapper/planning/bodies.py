"""The loops of each group of a workload, as the segments of a Program have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from weft.mapper.planning.overlap import interleave
from weft.mapper.scheduling.chunks import lane_work, whole_units
from weft.mapper.scheduling.emit import Gate, emit_fence, emit_stream, gate_load, tile_loop
from weft.mapper.scheduling.fuse import (
    Group,
    Item,
    VectorCost,
    vector_cost,
)
from weft.mapper.scheduling.schedule import Pick, Scheduler, start_tokens
from weft.mapper.scheduling.tiling import Fused
from weft.mapper.scheduling.words import MaskShape, mask_shape
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

__all__ = ["Bodies", "Body", "compressed_bytes"]

GRADIENT_BYTES = 2
MASTER_BYTES = 4
WEIGHT_BYTES = 2


@dataclass(frozen=True)
class Body:
    """The loops of a group; ``alone`` and ``pick`` as in ``Planned``."""

    nodes: tuple[Node, ...]
    pick: Pick | None = None
    alone: tuple[Node, ...] | None = None


@dataclass(frozen=True)
class _Overlapped:
    """A product's and a stream's body, by identity: both are kept, so their ids stay their own."""

    product: int
    stream: int


@dataclass(frozen=True)
class _Fenced:
    body: int


@dataclass(frozen=True)
class _Vector:
    cost: VectorCost
    gated: bool


@dataclass(frozen=True)
class _Mask:
    elements: int
    pattern: Pattern
    gated: bool


@dataclass(frozen=True)
class _MaskWords:
    shape: MaskShape
    pattern: Pattern
    gated: bool


@dataclass(frozen=True)
class _Update:
    elements: int
    optimizer: str
    state: int
    layouts: tuple[tuple[Pattern, str], ...]
    gated: bool


_Key = _Overlapped | _Fenced | _Vector | _Mask | _MaskWords | _Update
"""What determines a segment's body."""


@dataclass
class Bodies:
    """Builds segment bodies; equal ones are one object, so the engine works them out once."""

    scheduler: Scheduler
    workload: Workload
    bodies: dict[_Key, tuple[Node, ...]] = field(default_factory=dict["_Key", tuple[Node, ...]])
    times: dict[int, int] = field(default_factory=dict[int, int])

    @property
    def items(self) -> Sequence[Item]:
        return self.workload.items

    @property
    def machine(self) -> Machine:
        return self.scheduler.machine

    def group(self, group: Group, *, gated: bool) -> Body:
        """The loops of any group, by what heads it."""
        head = self.items[group.head]
        if isinstance(head, Product):
            pick, nodes = self.product(self.items, group, head, gated=gated)
            return Body(nodes, pick)
        if isinstance(head, VectorOp):
            return Body(self.vector(vector_cost(self.items, group), gated=gated))
        if isinstance(head, MaskWork):
            return Body(self.mask(head, gated=gated))
        tail = (self.items[place] for place in group.tail)
        masks = tuple(item for item in tail if isinstance(item, MaskWork))
        alone = self.update(head, (), gated=gated) if masks else None
        return Body(self.update(head, masks, gated=gated), alone=alone)

    def both(self, product: tuple[Node, ...], stream: tuple[Node, ...]) -> tuple[Node, ...]:
        """A product with a stream in its shadow."""
        key = _Overlapped(id(product), id(stream))
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
        body = self.group(group, gated=False)
        head = self.items[group.head]
        if isinstance(head, Product) and group.tail:
            alone = self.scheduler.body(head, Fused(), Gate())
        elif body.alone is not None:
            alone = body.alone
        else:
            return 0
        return max(0, self.cycles(body.nodes) - self.cycles(alone))

    def fenced(self, body: tuple[Node, ...]) -> tuple[Node, ...]:
        key = _Fenced(id(body))
        if key not in self.bodies:
            self.bodies[key] = (*body, emit_fence())
        return self.bodies[key]

    def product(
        self, items: Sequence[Item], group: Group, product: Product, *, gated: bool
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

    def vector(self, cost: VectorCost, *, gated: bool) -> tuple[Node, ...]:
        key = _Vector(cost, gated)
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

    def mask(self, work: MaskWork, *, gated: bool) -> tuple[Node, ...]:
        """Prune a dense tensor that lies in memory."""
        if self.machine.memory.in_words:
            return self.mask_words(work, mask_shape(work, self.workload, self.machine), gated=gated)
        key = _Mask(work.elements, work.pattern, gated)
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

    def mask_words(self, work: MaskWork, shape: MaskShape, *, gated: bool) -> tuple[Node, ...]:
        """Prune a weight unit by unit, into the words of a right operand."""
        key = _MaskWords(shape, work.pattern, gated)
        if key not in self.bodies:
            bank = self.machine.buffers.mask_bytes
            chunk = max(1, bank // (WEIGHT_BYTES * shape.unit_elements))
            nodes = tile_loop(
                shape.units,
                min(chunk, shape.units),
                lambda units, *, first: _mask_chunk(work.pattern, units * shape.unit_elements),
                first=gated,
            )
            self.bodies[key] = tuple(gate_load(nodes) if gated else nodes)
        return self.bodies[key]

    def update(self, op: UpdateOp, masks: tuple[MaskWork, ...], *, gated: bool) -> tuple[Node, ...]:
        layouts = tuple((mask.pattern, mask.axis) for mask in masks)
        key = _Update(op.elements, op.optimizer, op.state, layouts, gated)
        if key not in self.bodies:
            self.bodies[key] = self._update(op, masks, gated=gated)
        return self.bodies[key]

    def _update(
        self, op: UpdateOp, masks: tuple[MaskWork, ...], *, gated: bool
    ) -> tuple[Node, ...]:
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
            op.elements,
            chunk,
            lambda size, *, first: _update_chunk(op, masks, size, state),
            first=gated,
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
