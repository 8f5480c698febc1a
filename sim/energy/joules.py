"""Energy of counted actions: joules per action, by technology, each row with its source.

The tables are CSV files beside this module. A static power is charged for the whole run time.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
import io
from dataclasses import dataclass

from weft.sim.energy.actions import Actions

__all__ = ["Energy", "EnergyRow", "EnergyTable", "energy_of", "load_energy_table", "technologies"]

_ACTIONS = {
    "mac": "macs",
    "buffer_read_byte": "buffer_read_bytes",
    "buffer_write_byte": "buffer_write_bytes",
    "dram_read_byte": "dram_read_bytes",
    "dram_write_byte": "dram_write_bytes",
    "sore_compare": "sore_compares",
    "wuve_op": "wuve_ops",
}


@dataclass(frozen=True)
class EnergyRow:
    """One action's energy in picojoules (``static``: watts), and where the number is from."""

    action: str
    value: float
    source: str


@dataclass(frozen=True)
class EnergyTable:
    """All actions of one technology."""

    technology: str
    rows: tuple[EnergyRow, ...]

    def value(self, action: str) -> float:
        return next(row.value for row in self.rows if row.action == action)


@dataclass(frozen=True)
class Energy:
    """Joules by component."""

    stce_j: float = 0.0
    buffers_j: float = 0.0
    dram_j: float = 0.0
    sore_j: float = 0.0
    wuve_j: float = 0.0
    static_j: float = 0.0

    @property
    def total_j(self) -> float:
        return (
            self.stce_j + self.buffers_j + self.dram_j + self.sore_j + self.wuve_j + self.static_j
        )


@functools.cache
def technologies() -> tuple[str, ...]:
    """The technologies that have a table."""
    folder = importlib.resources.files("weft.sim.energy") / "technologies"
    return tuple(sorted(f.name[:-4] for f in folder.iterdir() if f.name.endswith(".csv")))


@functools.cache
def load_energy_table(technology: str) -> EnergyTable:
    """The table of ``technology``.

    Raises:
        ValueError: no such technology, or a table that lacks an action.
    """
    if technology not in technologies():
        raise ValueError(
            f"technology {technology!r} has no energy table; known: {', '.join(technologies())}"
        )
    folder = importlib.resources.files("weft.sim.energy") / "technologies"
    text = (folder / f"{technology}.csv").read_text(encoding="utf-8")
    rows = tuple(
        EnergyRow(line["action"], float(line["value"]), line["source"])
        for line in csv.DictReader(io.StringIO(text))
    )
    missing = {*_ACTIONS, "static"} - {row.action for row in rows}
    if missing:
        raise ValueError(f"energy table {technology} lacks {', '.join(sorted(missing))}")
    return EnergyTable(technology, rows)


def energy_of(actions: Actions, time_s: float, table: EnergyTable) -> Energy:
    """Joules that ``actions`` take on a machine that is on for ``time_s`` seconds."""
    joules = {
        action: table.value(action) * 1e-12 * getattr(actions, field)
        for action, field in _ACTIONS.items()
    }
    return Energy(
        stce_j=joules["mac"],
        buffers_j=joules["buffer_read_byte"] + joules["buffer_write_byte"],
        dram_j=joules["dram_read_byte"] + joules["dram_write_byte"],
        sore_j=joules["sore_compare"],
        wuve_j=joules["wuve_op"],
        static_j=table.value("static") * time_s,
    )
