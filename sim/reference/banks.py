"""On-chip banks and memory as bytes, and transfers between them.

How a buffer's bytes are laid out, lowest address first:

* ``left``: words of 16 halves, word w of array row r at (w rows + r) 32.
* ``right``: FP16 values, word a of array column c at (a cols + c) 2. ``right_index0`` ... ``3``
  hold one bit of every index each, bit (a cols + c) of the plane.
* ``output``: FP32 sums, word a of array column c at (a cols + c) 4.
* ``vector_in``, ``vector_half_in``, ``vector_out``, ``vector_half_out``: FP32 and FP16, see
  ``weft.sim.reference.update``.
* ``mask_in``: halves in the order of SORE's words; ``mask_out``: kept values, slot by slot, one per
  lane; ``mask_index0`` ... ``3``: bit planes of their indices.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weft.sim.machine import Machine
from weft.sim.program import Queue, Transfer
from weft.sim.program.timing import ceil_div
from weft.sim.reference.bind import Bound

__all__ = [
    "INDEX_PLANES",
    "NAN32",
    "Bytes",
    "PlaceError",
    "Store",
    "first_random",
    "narrow",
    "pack_planes",
    "unpack_planes",
]

INDEX_PLANES = 4
"""Bits of an index on chip: enough for M up to 16."""

NAN16 = 0x7E00
NAN32 = 0x7FC00000

Bytes = NDArray[np.uint8]


class PlaceError(ValueError):
    """A transfer or instruction that reaches outside of its bank or of memory."""


def narrow(words: NDArray[np.uint32]) -> NDArray[np.uint16]:
    """FP32 bits to FP16 bits, to nearest even; NaN is canonical."""
    values = words.view(np.float32)
    with np.errstate(all="ignore"):
        bits = values.astype(np.float16).view(np.uint16).copy()
    bits[np.isnan(values)] = NAN16
    return bits


def first_random(lanes: int) -> NDArray[np.uint32]:
    """What the random numbers of WUVE's lanes start from (Marsaglia's xorshift, 2003)."""
    return (np.arange(1, lanes + 1, dtype=np.uint64) * 0x9E3779B9).astype(np.uint32)


def pack_planes(index: NDArray[np.int64], planes: int) -> list[Bytes]:
    """Bit planes of indices in flat order."""
    flat = index.reshape(-1)
    return [
        np.packbits((flat >> bit & 1).astype(np.uint8), bitorder="little") for bit in range(planes)
    ]


def unpack_planes(planes: list[Bytes], first: int, count: int) -> NDArray[np.int64]:
    """Indices first ... first + count - 1 out of bit planes."""
    index = np.zeros(count, np.int64)
    for bit, plane in enumerate(planes):
        index |= (
            np.unpackbits(plane, bitorder="little")[first : first + count].astype(np.int64) << bit
        )
    return index


def _bank_bytes(machine: Machine) -> dict[str, int]:
    """Bytes of one bank of every buffer, as the transfers name them."""
    sizes, lanes = machine.buffers, machine.sore.lanes
    planes = {f"right_index{bit}": sizes.right_bytes // 16 for bit in range(INDEX_PLANES)}
    planes |= {f"mask_index{bit}": sizes.mask_bytes // 16 for bit in range(INDEX_PLANES)}
    whole_slots = sizes.mask_bytes // (2 * lanes) * 2 * lanes
    return {
        "left": sizes.left_bytes,
        "right": sizes.right_bytes,
        "output": sizes.output_bytes,
        **{f"vector_{part}": sizes.vector_bytes for part in ("in", "out", "half_in", "half_out")},
        "mask_in": whole_slots,
        "mask_out": whole_slots,
        **planes,
    }


def buffer_name(transfer: Transfer, queue: Queue) -> str:
    """The bank memory that a transfer moves: "vector", "vector_half" and "mask" name two each."""
    if transfer.buffer in ("vector", "vector_half", "mask"):
        return f"{transfer.buffer}_{'in' if queue is Queue.LOAD else 'out'}"
    return transfer.buffer


def bank_group(name: str) -> str:
    """The buffer whose tokens choose the bank: index planes go with their values."""
    if name.startswith("right_index"):
        return "right"
    if name.startswith("vector_half_"):
        return name.replace("half_", "")
    return "mask_out" if name.startswith("mask_index") else name


@dataclass
class Store:
    """All bytes of a machine: its memory, its banks and the state of its random numbers."""

    machine: Machine
    memory: Bytes
    tensors: dict[str, int]
    banks: dict[tuple[str, int], Bytes] = field(default_factory=dict[tuple[str, int], Bytes])
    random: NDArray[np.uint32] = field(init=False)

    def __post_init__(self) -> None:
        self.random = first_random(self.machine.wuve.lanes)
        for name, size in _bank_bytes(self.machine).items():
            for bank in range(self.machine.buffers.banks):
                self.banks[name, bank] = np.zeros(size, np.uint8)

    def bank(self, name: str, bound: Bound) -> Bytes:
        """The bank that an instruction works on."""
        return self.banks[name, bound.banks.get(bank_group(name), 0)]

    def load(self, bound: Bound, work: Transfer) -> None:
        """Whole beats of every run, from memory into the bank."""
        width = self.machine.memory.read_bytes_per_cycle
        bank = self.bank(buffer_name(work, Queue.LOAD), bound)
        for address, place, size in self._runs(bound, work, width, 1):
            whole = ceil_div(size, width) * width
            source = _slice(self.memory, address, whole, "memory")
            for start, at, count in _chunks(work, whole, place, 1):
                _slice(bank, at, count, work.buffer)[:] = source[start : start + count]

    def store(self, bound: Bound, work: Transfer) -> None:
        """Every run, from the bank into memory; outputs become FP16 unless wide."""
        width = self.machine.memory.write_bytes_per_cycle
        bank = self.bank(buffer_name(work, Queue.STORE), bound)
        scale = 2 if work.buffer == "output" and not work.wide else 1
        for address, place, size in self._runs(bound, work, width, scale):
            whole = ceil_div(size, width) * width
            taken = [
                _slice(bank, at, count, work.buffer)
                for _, at, count in _chunks(work, whole * scale, place, scale)
            ]
            data = np.concatenate(taken)
            if scale == 2:
                data = narrow(data.view(np.uint32)).view(np.uint8)
            _slice(self.memory, address, size, "memory")[:] = data[:size]

    def _runs(
        self, bound: Bound, work: Transfer, width: int, scale: int
    ) -> list[tuple[int, int, int]]:
        """(memory address, place in the bank, bytes) of every run."""
        address = self.tensors.get(work.tensor, 0) + bound.address
        place = work.offset
        runs: list[tuple[int, int, int]] = []
        for count, size in work.runs:
            for _ in range(count):
                runs.append((address, place, size))
                address += work.run_stride
                place += work.bank_stride or ceil_div(size, width) * width * scale
        return runs


def _chunks(work: Transfer, size: int, place: int, scale: int) -> list[tuple[int, int, int]]:
    """(first byte of the run, place in the bank, bytes) of a run's contiguous parts."""
    chunk = work.chunk or size
    return [
        (start, place + index * work.chunk_stride, min(chunk, size - start))
        for index, start in enumerate(range(0, size, chunk))
    ]


def _slice(area: Bytes, start: int, size: int, name: str) -> Bytes:
    if start < 0 or start + size > area.size:
        raise PlaceError(
            f"bytes {start} to {start + size} lie outside of {name} ({area.size} bytes)"
        )
    return area[start : start + size]
