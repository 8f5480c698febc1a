"""SAT machines: steps are scheduled ahead of time, and the engine times the program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weft.mapper.planning.plan import Plan, make_plan
from weft.mapper.pricing.machine import Header, Priced, Schedules
from weft.mapper.pricing.sat_steps import price_steps
from weft.mapper.pricing.settings import SatSettings
from weft.mapper.scheduling.schedule import Scheduler
from weft.mapper.scheduling.switches import parse_without
from weft.mapper.sparsity.sparsify import Applied
from weft.sim.engine import Engine
from weft.sim.machine import Machine, load_machine, with_memory

__all__ = ["SatPricing"]

_EVIDENCE = {
    "validated_cycles": "the engine equals stepping the same program one instruction and one cycle "
    "at a time, on random and on scheduled programs (tests/sim, tests/mapper)",
    "validated_instructions": "the Verilog takes exactly these cycles and gives these bits (weft "
    "cosim, tests/rtl)",
    "validated_energy": "counted actions times a table of published figures; dynamic only, not "
    "measured on this machine",
}


@dataclass(frozen=True)
class SatPricing:
    """A SAT machine with its settings."""

    settings: SatSettings

    @property
    def hardware(self) -> str:
        return self.settings.hardware

    @property
    def pregenerates(self) -> bool:
        return parse_without(self.settings.without).pregeneration

    @property
    def evidence(self) -> Mapping[str, str]:
        return _EVIDENCE

    @property
    def notes(self) -> tuple[str, ...]:
        memory = self.settings.memory
        if memory in ("", "simple"):
            return ()
        return (f"memory {memory} in detail; schedules are those for the simple one",)

    def machine(self) -> Machine:
        """The machine, with the memory that the settings ask for.

        Raises:
            ValueError: an unknown name, or a file that does not fit.
        """
        machine = load_machine(self.settings.hardware)
        return with_memory(machine, self.settings.memory) if self.settings.memory else machine

    def check(self) -> None:
        """See ``PricedMachine``."""
        self.machine()
        parse_without(self.settings.without)

    def price(self, steps: Sequence[tuple[Applied, int]], header: Header) -> Priced:
        """See ``PricedMachine``."""
        machine = self.machine()
        switches = parse_without(self.settings.without)
        # Schedules are made ahead of time for the simple memory, whatever then runs them.
        scheduler, engine = Scheduler(with_memory(machine, "simple"), switches), Engine(machine)
        plans = [
            (dataclasses.replace(make_plan(step.workload, scheduler), machine=machine), count)
            for step, count in steps
        ]
        added = [
            note for plan, _ in plans for note in plan.workload.notes if note not in header.notes
        ]
        notes = (*header.notes, *dict.fromkeys(added), *_overlap_notes(plans))
        result = price_steps(plans, engine, dataclasses.replace(header, notes=notes))
        counts = tuple(count for _, count in plans)
        return Priced(result, Schedules(tuple(plan for plan, _ in plans), counts, engine, switches))


def _overlap_notes(plans: Sequence[tuple[Plan, int]]) -> list[str]:
    """What the choice across products is worth, kind of step by kind of step."""
    return [
        f"{len(chosen.pairs)} streams run in the shadow of products (best of {chosen.candidates:,} "
        f"pairs), which saves {chosen.saved_cycles:,} cycles of a step; the nearest product for "
        f"each in turn would save {chosen.greedy_cycles:,}; fusing less or making layouts at their "
        f"use could save at most {chosen.open_cycles:,} more"
        for plan, _ in plans
        if (chosen := plan.pairing) is not None
    ]
