"""The fitted constants of the kernel model, one set per GPU and library, and where they came from.

A set lies in ``constants/<gpu>.<library>.json`` with the table, row count and commit it was
fitted on. A GPU without a set of its own inherits that of a sibling (``SIBLINGS``), and results
say so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import cast

from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu

__all__ = [
    "BOUNDS",
    "LIBRARIES",
    "SIBLINGS",
    "ConstantSet",
    "KernelConstants",
    "constant_sets",
    "load_constants",
    "parse_constants",
    "read_constants",
    "write_constants",
]

LIBRARIES = {
    "cublas": "dense products as PyTorch calls them (cuBLAS heuristics)",
    "cublaslt": "dense products, best of the algorithms that cuBLASLt offers",
    "cusparselt": "2:4 products, best of the algorithms that cuSPARSELt offers",
}


@dataclass(frozen=True)
class KernelConstants:
    """What the datasheet does not say about a GPU and its library, each with a physical meaning.

    launch_us: a kernel that does nothing, back to back in a CUDA graph.
    tensor_efficiency: tensor-core rate of a full tile loop over the datasheet peak, clocks too.
    feed_bytes_clk: operand bytes per clock that L2 and shared memory bring to each SM at once.
    step_us: shortest time of one 64-deep reduction step of a thread block (memory latency over
        the depth of its pipeline).
    hbm_efficiency: highest memory bandwidth reached over the datasheet's.
    wave_hardness: 1: a last, partly filled wave of tiles costs a whole one; 0: only its share.
    split_us: a reduction split over thread blocks: semaphores or a second kernel.
    workspace_gbs: partial sums of a split through the L2 cache, GB/s.
    exposed: share of the shorter of tile loop and memory traffic that the longer does not hide.
    l2_fraction: share of the L2 that keeps operands between kernels.
    l2_ramp: misses are total when the reuse distance passes l2_fraction x (1 + l2_ramp) of L2.
    raster_rows: rows of tiles that a wave covers before it turns back along N (1: plain raster).
    store_bytes_clk: output bytes per clock that one SM converts and stores.
    store_exposed: share of the shorter of multiplying and storing that the longer does not hide.
    throttle: slow-down of long tensor-bound kernels at the power cap.
    throttle_us: tensor time at which half of that slow-down is reached.
    """

    launch_us: float = 2.4
    tensor_efficiency: float = 0.85
    feed_bytes_clk: float = 64.0
    step_us: float = 0.1
    hbm_efficiency: float = 0.88
    wave_hardness: float = 0.2
    split_us: float = 2.5
    workspace_gbs: float = 3000.0
    exposed: float = 0.2
    l2_fraction: float = 0.3
    l2_ramp: float = 1.0
    raster_rows: float = 4.0
    store_bytes_clk: float = 15.0
    store_exposed: float = 0.6
    throttle: float = 0.15
    throttle_us: float = 1000.0


BOUNDS: dict[str, tuple[float, float]] = {
    "launch_us": (0.5, 40.0),
    "tensor_efficiency": (0.3, 0.98),
    "feed_bytes_clk": (10.0, 400.0),
    "step_us": (0.01, 0.8),
    "hbm_efficiency": (0.4, 0.97),
    "wave_hardness": (0.02, 1.0),
    "split_us": (0.3, 8.0),
    "workspace_gbs": (200.0, 20000.0),
    "exposed": (0.01, 1.0),
    "l2_fraction": (0.05, 1.2),
    "l2_ramp": (0.05, 3.0),
    "raster_rows": (1.0, 16.0),
    "store_bytes_clk": (3.0, 400.0),
    "store_exposed": (0.01, 1.0),
    "throttle": (0.005, 1.0),
    "throttle_us": (100.0, 20000.0),
}
"""Physical range of each constant; a fit that leaves it is wrong, not good."""

SIBLINGS = {
    "v100-sxm": "a100-sxm",
    "a100-sxm": "a100-pcie",
    "a100-pcie": "a100-sxm",
    "a100-sxm-40": "a100-sxm",
    "a100-pcie-40": "a100-pcie",
    "h100-sxm": "h100-pcie",
    "h100-pcie": "h100-sxm",
    "h100-96-500w": "h100-sxm",
    "h200-sxm": "h100-sxm",
    "l4": "l40s",
    "l40s": "rtx4090",
    "rtx3090": "rtx4090",
}
"""Nearest GPU to take constants from: same die first, then same tensor-core generation."""

RELATIVES = {
    "volta": "a100-sxm",
    "ampere": "a100-sxm",
    "ada": "l40s",
    "hopper": "h100-sxm",
    "blackwell": "b200-sxm",
    "blackwell-geforce": "rtx5080",
}
"""Where a machine file of the user's own takes constants from, by architecture."""


@dataclass(frozen=True)
class ConstantSet:
    """Constants of one GPU and library with their provenance.

    ``inherited_from`` names the GPU whose measurements they are, "" when its own.
    """

    gpu: str
    library: str
    constants: KernelConstants
    provenance: Mapping[str, str | int | float] = field(
        default_factory=dict[str, str | int | float]
    )
    inherited_from: str = ""

    @property
    def weight_copies(self) -> float:
        """Weights that took turns in the measurement: 6 in a graph of layers, 1 for repeats."""
        return float(self.provenance.get("weight_copies", 6.0))


def parse_constants(table: Mapping[str, object], where: str) -> ConstantSet:
    """Check a constants table.

    Raises:
        ValueError: names the constant, its value and the allowed range.
    """
    for key in ("gpu", "library"):
        if not isinstance(table.get(key), str):
            raise ValueError(f"{where}: {key} is {table.get(key)!r}; it must be a text")
    if table["library"] not in LIBRARIES:
        raise ValueError(
            f"{where}: library is {table['library']!r}; it must be one of {', '.join(LIBRARIES)}"
        )
    raw = table.get("constants")
    if not isinstance(raw, dict) or set(cast("dict[str, object]", raw)) != set(BOUNDS):
        raise ValueError(f"{where}: constants must be a table of exactly {', '.join(BOUNDS)}")
    numbers = cast("dict[str, object]", raw)
    for name, value in numbers.items():
        low, high = BOUNDS[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= cast("float", value) <= high:
            raise ValueError(f"{where}: {name} is {value!r}; it must be {low:g} to {high:g}")
    provenance = cast("dict[str, str | int | float]", table.get("provenance") or {})
    return ConstantSet(
        str(table["gpu"]),
        str(table["library"]),
        KernelConstants(**cast("dict[str, float]", raw)),
        provenance,
    )


def _table(values: ConstantSet) -> dict[str, object]:
    numbers = {name: float(f"{value:.5g}") for name, value in asdict(values.constants).items()}
    return {
        "gpu": values.gpu,
        "library": values.library,
        "constants": numbers,
        "provenance": dict(values.provenance),
    }


def read_constants(path: Path) -> dict[str, ConstantSet]:
    """Read a constants file, by library: one set, or a list of sets under ``sets``."""
    where = f"constants file {path}"
    try:
        table = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}: {error}") from error
    if not isinstance(table, dict):
        raise ValueError(f"{where}: it must hold one JSON object")
    single = cast("dict[str, object]", table)
    found = cast("list[object]", single["sets"]) if "sets" in single else [single]
    sets: dict[str, ConstantSet] = {}
    for entry in found:
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: sets has {entry!r}; it must hold tables")
        values = parse_constants(cast("dict[str, object]", entry), where)
        sets[values.library] = values
    return sets


def write_constants(values: ConstantSet | Sequence[ConstantSet], path: Path) -> None:
    """Write a constants file, numbers to five digits."""
    if isinstance(values, ConstantSet):
        table: dict[str, object] = _table(values)
    else:
        table = {"sets": [_table(entry) for entry in values]}
    path.write_text(json.dumps(table, indent=2) + "\n")


@cache
def constant_sets() -> dict[tuple[str, str], ConstantSet]:
    """All sets that ship, by (GPU, library)."""
    folder = resources.files("weft.sim.gpu.prediction") / "fitted_constants"
    found: dict[tuple[str, str], ConstantSet] = {}
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".json"):
            values = parse_constants(json.loads(entry.read_text()), entry.name)
            found[values.gpu, values.library] = values
    return found


def _own(gpu: str, library: str) -> ConstantSet | None:
    sets = constant_sets()
    if (gpu, library) in sets:
        return sets[gpu, library]
    other = {"cublas": "cublaslt", "cublaslt": "cublas"}.get(library)
    return sets.get((gpu, other)) if other else None


def _rescaled(values: ConstantSet, gpu: GpuMachine) -> KernelConstants:
    """A sibling's 2:4 set, its tensor efficiency moved by the ratio of the dense ones.

    The dense efficiencies carry what power limits and clocks do to the two boards, so a borrowed
    2:4 set never promises more over dense than it did where it was measured.
    """
    if values.library != "cusparselt":
        return values.constants
    here = load_constants(gpu, "cublaslt").constants.tensor_efficiency
    there = load_constants(values.gpu, "cublaslt").constants.tensor_efficiency
    low, high = BOUNDS["tensor_efficiency"]
    moved = min(high, max(low, values.constants.tensor_efficiency * here / there))
    return replace(values.constants, tensor_efficiency=moved)


def load_constants(gpu: str | GpuMachine, library: str = "cublas") -> ConstantSet:
    """The set of a GPU and library, a sibling's where it has none.

    Raises:
        ValueError: an unknown GPU or library, or no relative has been measured.
    """
    machine = gpu if isinstance(gpu, GpuMachine) else load_gpu(gpu)
    name = machine.name
    if library not in LIBRARIES:
        raise ValueError(f"library {library!r} is unknown; known are {', '.join(LIBRARIES)}")
    at, seen = name, [name]
    while (found := _own(at, library)) is None:
        at = SIBLINGS.get(at) or ("" if at != name else RELATIVES[machine.architecture])
        if not at or at in seen:
            raise ValueError(f"no {library} constants for GPU {name!r} nor for a sibling of it")
        seen.append(at)
    if at == name:
        return found
    return replace(found, gpu=name, constants=_rescaled(found, machine), inherited_from=at)


assert set(BOUNDS) == {f.name for f in fields(KernelConstants)}
