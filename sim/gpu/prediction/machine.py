"""GPU machine files: the facts of one board, read from TOML and checked field by field.

Every field of a file is a table ``{value, source}``; units are in the field's name. Presets lie
beside this module in ``machines/``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import cast

__all__ = ["GpuMachine", "gpu_names", "gpu_sources", "is_gpu", "load_gpu", "parse_gpu", "read_gpu"]

ARCHITECTURES = ("volta", "ampere", "ada", "hopper", "blackwell", "blackwell-geforce")


@dataclass(frozen=True)
class GpuMachine:
    """One GPU board.

    ``*_flop_clk_sm`` is the dense tensor-core rate in FLOP per clock per SM with FP32 (or INT32)
    accumulation, 0 where the type has no tensor core; ``fp32_flop_clk_sm`` is that of the CUDA
    cores. ``sparse_ratio`` is the 2:4 rate over the dense one (1: none). ``clock_hz`` is the boost
    clock at which rate x SMs is the datasheet's peak. Link rates are per GPU and direction.
    """

    name: str
    architecture: str
    compute_capability: str
    sms: int
    fp16_flop_clk_sm: int
    bf16_flop_clk_sm: int
    tf32_flop_clk_sm: int
    fp8_flop_clk_sm: int
    int8_flop_clk_sm: int
    sparse_ratio: int
    fp32_flop_clk_sm: int
    clock_hz: float
    memory_bytes: int
    memory_bytes_s: float
    l2_bytes: int
    shared_memory_bytes_sm: int
    power_limit_w: float
    nvlink_bytes_s: float
    pcie_bytes_s: float

    def peak_flop_s(self, dtype: str = "bf16", *, sparse: bool = False) -> float:
        """Datasheet peak of ``dtype`` products, FLOP/s."""
        rate = self.rate_flop_clk_sm(dtype)
        return rate * (self.sparse_ratio if sparse else 1) * self.sms * self.clock_hz

    def rate_flop_clk_sm(self, dtype: str) -> int:
        """FLOP per clock per SM of a product's input type.

        ``fp32`` runs as TF32 where the GPU has it; ``fp32-ieee`` always on the CUDA cores.

        Raises:
            ValueError: the type is unknown, or the GPU has no unit for it.
        """
        rates = {
            "fp16": self.fp16_flop_clk_sm,
            "bf16": self.bf16_flop_clk_sm,
            "tf32": self.tf32_flop_clk_sm,
            "fp8": self.fp8_flop_clk_sm,
            "int8": self.int8_flop_clk_sm,
            "fp32": self.tf32_flop_clk_sm or self.fp32_flop_clk_sm,
            "fp32-ieee": self.fp32_flop_clk_sm,
        }
        if not rates.get(dtype):
            allowed = ", ".join(name for name, rate in rates.items() if rate)
            raise ValueError(f"dtype {dtype!r} does not run on {self.name}; it has {allowed}")
        return rates[dtype]


_RANGES: dict[str, tuple[type, float, float]] = {
    "sms": (int, 1, 1024),
    "fp16_flop_clk_sm": (int, 0, 131072),
    "bf16_flop_clk_sm": (int, 0, 131072),
    "tf32_flop_clk_sm": (int, 0, 131072),
    "fp8_flop_clk_sm": (int, 0, 131072),
    "int8_flop_clk_sm": (int, 0, 131072),
    "sparse_ratio": (int, 1, 2),
    "fp32_flop_clk_sm": (int, 1, 8192),
    "clock_hz": (float, 1e8, 1e10),
    "memory_bytes": (int, 10**8, 10**13),
    "memory_bytes_s": (float, 1e9, 1e14),
    "l2_bytes": (int, 10**4, 10**10),
    "shared_memory_bytes_sm": (int, 2**14, 2**24),
    "power_limit_w": (float, 5, 5000),
    "nvlink_bytes_s": (float, 0, 1e13),
    "pcie_bytes_s": (float, 1e8, 1e13),
}


def _entry(name: str, field: str, table: Mapping[str, object]) -> object:
    raw = table.get(field)
    if not isinstance(raw, dict):
        raise ValueError(f"GPU {name}: {field} is {raw!r}; it must be a table with value, source")
    entry = cast("dict[str, object]", raw)
    if set(entry) != {"value", "source"} or not str(entry["source"]).strip():
        raise ValueError(f"GPU {name}: {field} has {sorted(entry)}; it must have value and source")
    return entry["value"]


def _number(name: str, field: str, value: object) -> int | float:
    kind, low, high = _RANGES[field]
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if good and kind is int:
        good = isinstance(value, int)
    if not good or not low <= cast("float", value) <= high:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(
            f"GPU {name}: {field} is {value!r}; it must be {what}, {low:g} to {high:g}"
        )
    return cast("int | float", value)


def parse_gpu(table: Mapping[str, object]) -> GpuMachine:
    """Check a machine table and build the machine.

    Raises:
        ValueError: names the field, its value and what is allowed.
    """
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise ValueError(f"GPU machine file: name is {name!r}; it must be a non-empty text")
    known = [f.name for f in fields(GpuMachine)]
    extra = sorted(set(table) - set(known))
    if extra:
        raise ValueError(f"GPU {name}: {extra[0]} is not a field; fields are {', '.join(known)}")
    values: dict[str, object] = {"name": name}
    for field in known[1:]:
        value = _entry(name, field, table)
        values[field] = _number(name, field, value) if field in _RANGES else str(value)
    if values["architecture"] not in ARCHITECTURES:
        raise ValueError(
            f"GPU {name}: architecture is {values['architecture']!r}; "
            f"it must be one of {', '.join(ARCHITECTURES)}"
        )
    return GpuMachine(**values)  # type: ignore[arg-type]


def read_gpu(path: Path) -> GpuMachine:
    """Read a machine file of the user's own."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"GPU machine file {path}: {error}") from error
    return parse_gpu(table)


@cache
def gpu_names() -> tuple[str, ...]:
    """Names of the presets, sorted."""
    folder = resources.files("weft.sim.gpu.prediction") / "machines"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir()))


def is_gpu(name: str) -> bool:
    """Whether ``name`` is a GPU preset."""
    return name in gpu_names()


def _preset(name: str) -> dict[str, object]:
    if name not in gpu_names():
        raise ValueError(f"GPU {name!r} is unknown; known are {', '.join(gpu_names())}")
    return tomllib.loads(
        (resources.files("weft.sim.gpu.prediction") / f"machines/{name}.toml").read_text()
    )


@cache
def load_gpu(name: str) -> GpuMachine:
    """The preset called ``name``, for example ``h100-sxm``.

    Raises:
        ValueError: the name is unknown; the message lists the known ones.
    """
    return parse_gpu(_preset(name))


def gpu_sources(name: str) -> dict[str, str]:
    """Where each field of a preset comes from."""
    table = _preset(name)
    return {
        key: str(cast("dict[str, object]", entry)["source"])
        for key, entry in table.items()
        if isinstance(entry, dict)
    }
