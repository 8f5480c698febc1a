"""The machine that a run carries, as the simulator's own object again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weft.sim.results import RunResult

if TYPE_CHECKING:
    from weft.sim.machine import Machine

__all__ = ["machine_of"]


def machine_of(run: RunResult) -> Machine | None:
    """The run's machine; None for GPUs, and for runs that carry none or a damaged one."""
    from weft.sim.machine import Array, Buffers, Machine, Memory, Sore, Wuve

    parts = {"array": Array, "buffers": Buffers, "memory": Memory, "sore": Sore, "wuve": Wuve}
    try:
        fields = dict(run.machine)
        return Machine(**(fields | {name: kind(**fields[name]) for name, kind in parts.items()}))
    except (KeyError, TypeError):
        return None
