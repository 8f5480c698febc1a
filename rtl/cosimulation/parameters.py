"""Machine file to Verilog parameters, and what of a machine the Verilog cannot be."""

from __future__ import annotations

from weft.sim.machine import Array, Machine

__all__ = [
    "LOAD_PIPELINE",
    "PROGRAM_WORDS",
    "SORE_LEAST_PIPELINE",
    "STORE_PIPELINE",
    "UnsupportedMachineError",
    "bank_words",
    "parameters",
]

LOAD_PIPELINE = 2
"""Cycles of a load before its first address is at the port (rtl/hardware/load_unit.v)."""

STORE_PIPELINE = 4
"""Cycles of a store before its first data are at the port (rtl/hardware/store_unit.v)."""

SORE_LEAST_PIPELINE = 34
"""Cycles around SORE's rounds for the largest pattern (rtl/hardware/sore.v)."""

PROGRAM_WORDS = 4096
"""Words of each queue's program memory, unless more are asked for."""

LANE_OPERATIONS = 1024
"""Lane operations that WUVE holds, of all vector programs together."""


class UnsupportedMachineError(ValueError):
    """A machine that the simulator can time but the Verilog cannot be."""


def _power(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0


def _above(value: int) -> int:
    """The next power of two at or above ``value``."""
    return 1 << (value - 1).bit_length()


def lane_depth(array: Array) -> int:
    """Cycles of a lane operation's arithmetic (wuve_lane.v)."""
    return max(array.multiplier_stages + array.adder_stages, 6)


def wuve_least_pipeline(array: Array) -> int:
    """Cycles from the last lane operation to the end of its instruction (wuve.v)."""
    return lane_depth(array) + 5


def bank_words(machine: Machine) -> dict[str, int]:
    """Words of one bank: left per row, right and output per column, mask slots, vector words."""
    array, buffers = machine.array, machine.buffers
    return {
        "left": buffers.left_bytes // (32 * array.rows),
        "right": buffers.right_bytes // (2 * array.cols),
        "output": buffers.output_bytes // (4 * array.cols),
        "mask": buffers.mask_bytes // (2 * machine.sore.lanes),
        "vector": buffers.vector_bytes // (4 * machine.wuve.lanes),
    }


def _faults(machine: Machine) -> list[str]:
    array, memory, name = machine.array, machine.memory, machine.name
    read, write = memory.read_bytes_per_cycle, memory.write_bytes_per_cycle
    powers = {
        "array.rows": array.rows,
        "array.cols": array.cols,
        "memory.read_bytes_per_cycle": read,
        "memory.write_bytes_per_cycle": write,
        "sore.lanes": machine.sore.lanes,
        "wuve.lanes": machine.wuve.lanes,
        "wuve.slots": machine.wuve.slots,
    }
    faults = [
        f"{name}: {field} = {value}; the Verilog needs a power of two"
        for field, value in powers.items()
        if not _power(value)
    ]
    if memory.dram:
        faults.append(
            f"{name}: memory.dram = {memory.dram!r}; the Verilog's memory is the simple one"
        )
    limits = [
        ("memory.read_bytes_per_cycle", read, 4, 32 * array.rows),
        ("memory.write_bytes_per_cycle", write, 4, 2 * array.cols),
        ("memory.read_latency_cycles", memory.read_latency_cycles, LOAD_PIPELINE + 1, 1 << 20),
        ("memory.write_latency_cycles", memory.write_latency_cycles, STORE_PIPELINE + 1, 1 << 20),
        ("sore.pipeline_cycles", machine.sore.pipeline_cycles, SORE_LEAST_PIPELINE, 1 << 20),
        ("sore.lanes", machine.sore.lanes, 2, 64),
        ("wuve.pipeline_cycles", machine.wuve.pipeline_cycles, wuve_least_pipeline(array), 1 << 20),
        ("wuve.lanes", machine.wuve.lanes, 2, 256),
        ("wuve.slots", machine.wuve.slots, 2 * lane_depth(array) + 4, 64),
    ]
    faults += [
        f"{name}: {field} = {value}; the Verilog needs {least} to {most}"
        for field, value, least, most in limits
        if not least <= value <= most
    ]
    return faults


def parameters(machine: Machine, program_words: int = PROGRAM_WORDS) -> dict[str, int]:
    """Parameters of ``sat_top`` and of its bench's memory.

    Raises:
        UnsupportedMachineError: the first field that the Verilog cannot follow.
    """
    faults = _faults(machine)
    if faults:
        raise UnsupportedMachineError(faults[0])
    array, memory, words = machine.array, machine.memory, bank_words(machine)
    banks = machine.buffers.banks
    return {
        "ROWS": array.rows,
        "COLS": array.cols,
        "INTERLEAVE": array.interleave,
        "LM": array.multiplier_stages,
        "LA": array.adder_stages,
        "READ_BYTES": memory.read_bytes_per_cycle,
        "WRITE_BYTES": memory.write_bytes_per_cycle,
        "LEFT_WORDS": words["left"] * banks,
        "RIGHT_WORDS": words["right"] * banks,
        "OUT_WORDS": words["output"] * banks,
        "SORE_LANES": machine.sore.lanes,
        "SORE_PIPELINE": machine.sore.pipeline_cycles,
        "MASK_WORDS": words["mask"] * banks,
        "BANKS": banks,
        "WUVE_LANES": machine.wuve.lanes,
        "WUVE_SLOTS": machine.wuve.slots,
        "WUVE_OPERATIONS": LANE_OPERATIONS,
        "WUVE_PIPELINE": machine.wuve.pipeline_cycles,
        "VECTOR_WORDS": words["vector"] * banks,
        "VECTOR_BANK": words["vector"],
        "LOADS_IN_FLIGHT": _above(memory.read_latency_cycles + 8),
        "STORES_IN_FLIGHT": _above(memory.write_latency_cycles + 8),
        "FENCE_CYCLES": memory.write_latency_cycles + 1,
        "PROGRAM_WORDS": program_words,
        "READ_LATENCY": memory.read_latency_cycles - LOAD_PIPELINE,
        "WRITE_LATENCY": memory.write_latency_cycles - STORE_PIPELINE,
    }
