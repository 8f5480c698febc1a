"""The machine that weft simulates: its description, and the presets that ship."""

from weft.sim.machine.description import (
    Array,
    Buffers,
    Machine,
    MachineError,
    Memory,
    Sore,
    Wuve,
    load_machine,
    machine_names,
    machine_text,
    parse_machine,
    with_memory,
)

__all__ = [
    "Array",
    "Buffers",
    "Machine",
    "MachineError",
    "Memory",
    "Sore",
    "Wuve",
    "load_machine",
    "machine_names",
    "machine_text",
    "parse_machine",
    "with_memory",
]
