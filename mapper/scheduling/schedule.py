"""Pick, for each product, the tiling that the engine finds fastest.

Tilings are tried in the order of their lower bounds, and the search ends when the next bound is
no better than the best time found: what is left cannot win.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from weft.mapper.scheduling.emit import Gate, emit_product
from weft.mapper.scheduling.geometry import Problem
from weft.mapper.scheduling.switches import Switches
from weft.mapper.scheduling.tiling import Fused, Tiling, TilingTable, enumerate_tilings
from weft.mapper.scheduling.words import problems_on
from weft.sim.engine import Engine
from weft.sim.machine import Machine
from weft.sim.program import Channel, Node, Program, Segment
from weft.sim.workload import Operand, Product

__all__ = ["Pick", "ScheduleError", "Scheduler", "start_tokens"]

_FREE_CHANNELS = (
    Channel.LEFT_FREE,
    Channel.RIGHT_FREE,
    Channel.OUT_FREE,
    Channel.VIN_FREE,
    Channel.VOUT_FREE,
    Channel.VOUT_FROM_SORE,
    Channel.MASK_IN_FREE,
    Channel.MASK_OUT_FREE,
)
_TRIES = 48
"""Exact timings per product; where bounds do not settle it by then, the gap is reported."""


class ScheduleError(ValueError):
    """A product of which not even one tile fits the machine's buffers."""


@dataclass(frozen=True)
class Pick:
    """The tiling chosen for a product, and what is known about it.

    ``cycles`` is the product alone on an idle machine, ``bound_cycles`` what no tiling of the
    declared space can beat; ``proven`` says that no other candidate is faster.
    """

    problem: Problem
    tiling: Tiling
    cycles: int
    bound_cycles: int
    candidates: int
    proven: bool


def start_tokens(machine: Machine, switches: Switches) -> tuple[tuple[Channel, int], ...]:
    """Free banks that a program starts with."""
    banks = machine.buffers.banks if switches.double_buffering else 1
    return tuple((channel, banks) for channel in _FREE_CHANNELS)


@dataclass
class Scheduler:
    """Schedules products on one machine; equal products are scheduled once."""

    machine: Machine
    switches: Switches = field(default_factory=Switches)
    engine: Engine = field(init=False)
    _picks: dict[tuple[Product, Fused], Pick] = field(
        default_factory=dict[tuple[Product, Fused], Pick]
    )
    _bodies: dict[tuple[Product, Fused, Gate], tuple[Node, ...]] = field(
        default_factory=dict[tuple[Product, Fused, Gate], tuple[Node, ...]]
    )

    def __post_init__(self) -> None:
        self.engine = Engine(self.machine)

    def pick(self, product: Product, fused: Fused) -> Pick:
        """The best tiling of ``product``.

        Raises:
            ScheduleError: not one tile fits the buffers.
        """
        key = (_anonymous(product), fused)
        if key not in self._picks:
            self._picks[key] = self._search(product, fused)
        return self._picks[key]

    def body(self, product: Product, fused: Fused, gate: Gate) -> tuple[Node, ...]:
        """The loops of ``product`` under its best tiling; equal ones are one object."""
        key = (_anonymous(product), fused, gate)
        if key not in self._bodies:
            pick = self.pick(product, fused)
            self._bodies[key] = emit_product(pick.problem, pick.tiling, self.switches, fused, gate)
        return self._bodies[key]

    def _search(self, product: Product, fused: Fused) -> Pick:
        tables = [
            table
            for problem in problems_on(product, self.machine)
            if (table := enumerate_tilings(problem, self.machine, self.switches, fused)) is not None
        ]
        if not tables:
            raise ScheduleError(
                f"{product.name} ({product.stage}): not one tile of {product.m} x {product.k} x "
                f"{product.n} fits the buffers of {self.machine.name}; "
                "enlarge left_bytes, right_bytes or output_bytes"
            )
        if not self.switches.offline_scheduling:
            return self._fixed(tables, fused)
        return self._best(tables, fused)

    def _best(self, tables: list[TilingTable], fused: Fused) -> Pick:
        bounds = np.concatenate([table.bound_cycles for table in tables])
        starts = np.cumsum([0, *(table.bound_cycles.size for table in tables)])
        order = np.argsort(bounds, kind="stable")
        best: tuple[int, Problem, Tiling] | None = None
        proven = False
        for tried, index in enumerate(order.tolist()):
            if best is not None and bounds[index] >= best[0]:
                proven = True
                break
            if tried == _TRIES:
                break
            place = int(np.searchsorted(starts, index, side="right")) - 1
            table = tables[place]
            tiling = table.tiling(index - int(starts[place]))
            cycles = self._time(table.problem, tiling, fused)
            if best is None or cycles < best[0]:
                best = (cycles, table.problem, tiling)
        else:
            proven = True
        assert best is not None
        floor = int(bounds[order[0]])
        return Pick(best[1], best[2], best[0], floor, bounds.size, proven)

    def _fixed(self, tables: list[TilingTable], fused: Fused) -> Pick:
        """No search: output-stationary, whole images, the largest tile that fits."""
        table = tables[-1]
        tiling = table.tiling(int(np.argmax(np.prod(table.sizes.astype(np.float64), axis=0))))
        cycles = self._time(table.problem, tiling, fused)
        bound = int(table.bound_cycles.min())
        return Pick(table.problem, tiling, cycles, bound, 1, proven=False)

    def _time(self, problem: Problem, tiling: Tiling, fused: Fused) -> int:
        body = emit_product(problem, tiling, self.switches, fused, Gate())
        tokens = start_tokens(self.machine, self.switches)
        return Engine(self.machine).run(Program((Segment("", body),), tokens)).cycles


def _anonymous(product: Product) -> Product:
    """The product without its name and place, so that equal layers are recognised."""
    return replace(
        product,
        name="",
        op="",
        inputs=(),
        left=_plain(product.left),
        right=_plain(product.right),
        output=_plain(product.output),
    )


def _plain(operand: Operand) -> Operand:
    return Operand(operand.role, 0)
