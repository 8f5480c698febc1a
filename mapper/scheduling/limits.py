"""What no schedule of a product can beat, whatever its tiles: work, memory traffic, latency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from weft.sim.machine import Machine
from weft.sim.pattern import Pattern
from weft.sim.program.timing import ceil_div
from weft.sim.workload import Operand, Product

__all__ = ["Limits", "limits_of"]

_BYTES = 2


@dataclass(frozen=True)
class Limits:
    """Cycles of a product alone: the array always full, the ports always full, the empty ends."""

    compute_cycles: int
    dram_cycles: int
    fill_cycles: int

    @property
    def cycles(self) -> int:
        """Work and traffic may overlap fully; nothing hides the first read and the last write."""
        return max(self.compute_cycles, self.dram_cycles) + self.fill_cycles


def limits_of(product: Product, machine: Machine) -> Limits:
    """The physical limits of ``product`` on ``machine``.

    Traffic is what must be read and written at least once. A matrix product that cannot keep an
    operand on chip moves more: T multiplications with room for S elements need at least
    T / (2 sqrt(2 S)) - S elements moved (Irony, Toledo and Tiskin, J. Parallel and Distributed
    Computing 64(9), 2004, theorem 3.1).
    """
    memory, array = machine.memory, machine.array
    compute = ceil_div(product.macs_done, machine.peak_macs_per_cycle)
    reads = sum(_read_bytes(product, side) for side in ("left", "right"))
    writes = _BYTES * product.output.elements
    ports = memory.read_bytes_per_cycle + memory.write_bytes_per_cycle
    dram = max(
        ceil_div(reads, memory.read_bytes_per_cycle),
        ceil_div(writes, memory.write_bytes_per_cycle),
        ceil_div(_moved_bytes(product, machine), ports),
    )
    fill = (
        memory.read_latency_cycles
        + array.multiplier_stages
        + array.adder_stages
        + memory.write_latency_cycles
    )
    return Limits(compute, dram, fill)


def _read_bytes(product: Product, side: str) -> int:
    """An operand once: only elements that are used, and of a pruned one those kept and indices."""
    operand: Operand = getattr(product, side)
    width = product.m if side == "left" else product.n
    used = min(operand.elements, product.batch * product.k * width)
    if side != product.sparse_operand:
        return _BYTES * used
    return _compressed(used, product.pattern)


def _compressed(elements: int, pattern: Pattern) -> int:
    """Whole groups only: what is left of the last one may be less."""
    kept = elements // pattern.m * pattern.n
    return kept * (8 * _BYTES + pattern.index_bits) // 8


def _moved_bytes(product: Product, machine: Machine) -> int:
    """The least that a matrix product moves through the chip's buffers; convolutions reuse more."""
    if product.convolution is not None:
        return 0
    buffers = machine.buffers
    operands = (buffers.left_bytes + buffers.right_bytes) // _BYTES
    room = buffers.banks * (operands + buffers.output_bytes // 4)
    moved = product.macs_done / (2 * math.sqrt(2 * room)) - room
    return max(0, int(moved * _BYTES))
