"""What a program does, counted, and the energy of it."""

from weft.sim.energy.joules import (
    Energy,
    EnergyRow,
    EnergyTable,
    energy_of,
    load_energy_table,
    technologies,
)

__all__ = [
    "Energy",
    "EnergyRow",
    "EnergyTable",
    "energy_of",
    "load_energy_table",
    "technologies",
]
