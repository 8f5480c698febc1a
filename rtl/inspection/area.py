"""What the machine takes of an FPGA: each unit synthesised by yosys, counted and multiplied.

Method: every unit is synthesised for Xilinx UltraScale+ (``synth_xilinx -family xcup``) without
placing it. Two tables share a site where both together have at most five inputs whatever they are
(LUT2 with LUT3, and smaller); a vendor's placer shares more. Array and lanes are synthesised at
small sizes with elements, ports and lanes kept as modules of their own: those are multiplied by
how many the machine has. What remains around them is continued to the machine's size: linearly in
rows and columns for the array and in lanes for WUVE, by a power of the lanes for SORE's data
provider, which turns words. Buffers take the RAM blocks that hold them at their ports' width. Not
counted: the steering of bytes between memory ports and buffers, and the memory controller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from weft.rtl.cosimulation.parameters import PROGRAM_WORDS, bank_words
from weft.rtl.inspection.synthesis import Job, Resources, together
from weft.sim.machine import Array, Machine
from weft.sim.pattern import MAX_M
from weft.sim.program import Channel, Queue

__all__ = [
    "METHOD",
    "VU9P",
    "Area",
    "UnitArea",
    "area",
    "buffer_shapes",
    "depth_jobs",
    "ram_blocks",
    "stce_area",
]


METHOD = (
    "Each unit synthesised alone by yosys for UltraScale+ (synth_xilinx -family xcup), not placed; "
    "array and lanes\nat small sizes, elements times their count, the rest around them continued "
    "to the machine's size. Not counted:\nbyte steering between ports and buffers, and the memory "
    "controller. So tables near the chip's own number would not place."
)


VU9P = Resources(lut=1_182_240, flip_flop=2_364_480, dsp=6_840, bram36=2_160, uram=960)
"""XCVU9P, the VCU1525's chip: UltraScale+ product table, Xilinx DS890."""


@dataclass(frozen=True)
class UnitArea:
    """``count`` pieces of a unit, each taking ``each``."""

    name: str
    count: int
    each: Resources

    @property
    def total(self) -> Resources:
        return self.each * self.count


@dataclass(frozen=True)
class Area:
    """The machine by unit, and what ``chip`` holds."""

    units: tuple[UnitArea, ...]
    chip: Resources

    @property
    def total(self) -> Resources:
        return sum((unit.total for unit in self.units), Resources())


_ARRAY_PARTS = ("uspe", "row_feeder", "column_feeder", "column_port")


def _continued(at: Sequence[tuple[int, Resources]], size: int, *, power: bool = False) -> Resources:
    """What two sizes say about a third, linearly or as a power of the size."""
    (small, few), (large, many) = at

    def one(a: float, b: float) -> int:
        if power and a and b:
            return round(a * (size / small) ** (math.log(b / a) / math.log(large / small)))
        return round(a + (b - a) * (size - small) / (large - small))

    return Resources(*(one(a, b) for a, b in zip(astuple(few), astuple(many), strict=True)))


def _array_job(array: Array, rows: int, cols: int) -> Job:
    """An array of another size, but for that like ``array``."""
    parameters = {
        "ROWS": rows,
        "COLS": cols,
        "INTERLEAVE": array.interleave,
        "LM": array.multiplier_stages,
        "LA": array.adder_stages,
    }
    return "stce_unit", parameters, _ARRAY_PARTS


def _lane_job(machine: Machine, lanes: int) -> Job:
    """WUVE with another number of lanes."""
    parameters = {
        "LANES": lanes,
        "PIPELINE_CYCLES": machine.wuve.pipeline_cycles,
        "SLOTS": machine.wuve.slots,
        "LM": machine.array.multiplier_stages,
        "LA": machine.array.adder_stages,
    }
    return "wuve", parameters, ("wuve_lane",)


def _control_jobs() -> tuple[Job, ...]:
    """Instruction queue, tokens, and rounding on the way to memory."""
    channels = {"CHANNELS": len(Channel)}
    return (
        ("queue", {"DEPTH": PROGRAM_WORDS, **channels}, ()),
        ("token_counters", channels, ()),
        ("fp32_to_fp16", {}, ()),
    )


def depth_jobs(machine: Machine) -> tuple[Job, ...]:
    """What ``area`` synthesises, once each and small: every kind of path within a unit is there."""
    return (
        _array_job(machine.array, 2, 2),
        ("sore", {"LANES": 4}, ("sore_lane",)),
        _lane_job(machine, 2),
        *_control_jobs(),
    )


def stce_area(array: Array) -> tuple[UnitArea, ...]:
    """The array of processing elements with its feeders, ports and control."""
    each, tall, wide = together([_array_job(array, *size) for size in ((2, 2), (4, 2), (2, 4))])
    corner = each["stce_unit"]
    control = (
        _continued([(2, corner), (4, tall["stce_unit"])], array.rows)
        + _continued([(2, corner), (4, wide["stce_unit"])], array.cols)
        + corner * -1
    )
    return (
        UnitArea("USPE", array.rows * array.cols, each["uspe"]),
        UnitArea("STCE row feeder", array.rows, each["row_feeder"]),
        UnitArea("STCE column feeder", array.cols, each["column_feeder"]),
        UnitArea("STCE column port", array.cols, each["column_port"]),
        UnitArea("STCE control", 1, control),
    )


def _lanes(machine: Machine) -> tuple[UnitArea, ...]:
    """SORE and WUVE: their lanes, and what surrounds them."""
    sorters, more_sorters, updaters, more_updaters = together(
        [
            ("sore", {"LANES": 4}, ("sore_lane",)),
            ("sore", {"LANES": 8}, ("sore_lane",)),
            _lane_job(machine, 2),
            _lane_job(machine, 4),
        ]
    )
    provider = _continued(
        [(4, sorters["sore"]), (8, more_sorters["sore"])], machine.sore.lanes, power=True
    )
    control = _continued([(2, updaters["wuve"]), (4, more_updaters["wuve"])], machine.wuve.lanes)
    return (
        UnitArea("SORE lane", machine.sore.lanes, sorters["sore_lane"]),
        UnitArea("SORE data provider", 1, provider),
        UnitArea("WUVE lane", machine.wuve.lanes, updaters["wuve_lane"]),
        UnitArea("WUVE control", 1, control),
    )


def _streams(machine: Machine) -> tuple[UnitArea, ...]:
    """Instruction queues with their program memories, tokens, and rounding on the way to memory."""
    queue, tokens, rounding = together(_control_jobs())
    halves = machine.memory.write_bytes_per_cycle // 2
    return (
        UnitArea("instruction queue", len(Queue), queue["queue"]),
        UnitArea("token counters", 1, tokens["token_counters"]),
        UnitArea("FP32 to FP16 at the store", halves, rounding["fp32_to_fp16"]),
    )


_BRAM_SHAPES = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))
"""(words, bits) of a 36 Kb block RAM with one read and one write port (Xilinx UG573)."""

_URAM_SHAPE = (4096, 72)


def ram_blocks(words: int, bits: int) -> Resources:
    """Blocks of a RAM of ``words`` x ``bits``: BRAM or URAM, what takes less of the chip."""
    blocks = min(-(-words // depth) * -(-bits // width) for depth, width in _BRAM_SHAPES)
    ultra = -(-words // _URAM_SHAPE[0]) * -(-bits // _URAM_SHAPE[1])
    if blocks / VU9P.bram36 <= ultra / VU9P.uram:
        return Resources(bram36=blocks)
    return Resources(uram=ultra)


def buffer_shapes(machine: Machine) -> tuple[tuple[str, int, int, int], ...]:
    """(name, memories, words, bits of a word) of every buffer, all its banks together.

    As ``sat_top`` has them: the left buffer one memory per array row, right and output one per
    column, indices in four bit planes, the WUVE's floats and halves beside each other.
    """
    array, banks = machine.array, machine.buffers.banks
    words = {name: banks * count for name, count in bank_words(machine).items()}
    planes = (MAX_M - 1).bit_length()
    slot, sore = 16 * machine.sore.lanes, machine.sore.lanes
    floats, halves = 32 * machine.wuve.lanes, 16 * machine.wuve.lanes
    return (
        ("left buffer row", array.rows, words["left"], 16 * MAX_M),
        ("right buffer column", array.cols, words["right"], 16),
        ("right buffer index plane", planes * array.cols, words["right"], 1),
        ("output buffer column", array.cols, words["output"], 32),
        ("SORE input", 1, words["mask"], slot),
        ("SORE output", 1, words["mask"], slot),
        ("SORE index plane", planes, words["mask"], sore),
        ("WUVE floats, in and out", 2, words["vector"], floats),
        ("WUVE halves, in, out and to SORE", 3, 2 * words["vector"], halves),
    )


def area(machine: Machine) -> Area:
    """The whole machine by unit. The first call for a machine takes minutes; then it is cached.

    Raises:
        AreaError: yosys is not installed, or failed.
    """
    buffers = (
        UnitArea(name, count, ram_blocks(words, bits))
        for name, count, words, bits in buffer_shapes(machine)
    )
    units = (*stce_area(machine.array), *_lanes(machine), *_streams(machine), *buffers)
    return Area(units, VU9P)
