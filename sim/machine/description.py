"""The machine that weft simulates: typed, frozen, read from a TOML file that names every unit."""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from weft.sim.dram import load_dram

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


class MachineError(ValueError):
    """A machine that is unknown, or a machine file with a field out of range."""


@dataclass(frozen=True)
class Array:
    """The STCE: ``rows`` x ``cols`` processing elements."""

    rows: int
    cols: int
    interleave: int
    multiplier_stages: int
    adder_stages: int


@dataclass(frozen=True)
class Buffers:
    """On-chip banks in bytes each; every buffer has ``banks`` of them."""

    left_bytes: int
    right_bytes: int
    output_bytes: int
    vector_bytes: int
    mask_bytes: int
    banks: int


@dataclass(frozen=True)
class Memory:
    """DRAM behind separate read and write ports, arbitrated statically.

    ``dram`` names the detailed model of ``weft.sim.dram`` that the ports share; "" is the simple
    one: a port always moves its bytes per cycle. ``layout`` says how operands lie in memory:
    "blocks" of 32 channels, of which the chip makes windows and unpacks compressed weights, or the
    "words" that the array reads, which a load gathers one by one
    (``weft.mapper.scheduling.words``).
    """

    read_bytes_per_cycle: int
    write_bytes_per_cycle: int
    read_latency_cycles: int
    write_latency_cycles: int
    dram: str = ""
    layout: str = "blocks"

    @property
    def in_words(self) -> bool:
        return self.layout == "words"


@dataclass(frozen=True)
class Sore:
    """Top-N-of-M sorters: one element per cycle and lane."""

    lanes: int
    pipeline_cycles: int


@dataclass(frozen=True)
class Wuve:
    """The vector engine: FP32 lanes, one lane operation per cycle each.

    A lane program keeps ``slots`` rounds of the lanes in flight.
    """

    lanes: int
    slots: int
    pipeline_cycles: int


@dataclass(frozen=True)
class Machine:
    """A SAT-like sparse training accelerator."""

    name: str
    summary: str
    technology: str
    clock_hz: float
    array: Array
    buffers: Buffers
    memory: Memory
    sore: Sore
    wuve: Wuve

    @property
    def peak_macs_per_cycle(self) -> int:
        return self.array.rows * self.array.cols


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _ArrayFile(_Strict):
    rows: int = Field(ge=1, le=256)
    cols: int = Field(ge=1, le=256)
    interleave: int = Field(ge=1, le=64)
    multiplier_stages: int = Field(ge=1, le=16)
    adder_stages: int = Field(ge=1, le=16)

    @model_validator(mode="after")
    def _adder_fits(self) -> _ArrayFile:
        if self.interleave < self.adder_stages:
            raise ValueError(
                f"interleave {self.interleave} is below adder_stages {self.adder_stages}: "
                "a dependent accumulation would arrive too early"
            )
        return self


_BYTES = Field(ge=64, le=1 << 32)


class _BuffersFile(_Strict):
    left_bytes: int = _BYTES
    right_bytes: int = _BYTES
    output_bytes: int = _BYTES
    vector_bytes: int = _BYTES
    mask_bytes: int = _BYTES
    banks: int = Field(ge=1, le=8)


class _MemoryFile(_Strict):
    read_bytes_per_cycle: int = Field(ge=1, le=1 << 16)
    write_bytes_per_cycle: int = Field(ge=1, le=1 << 16)
    read_latency_cycles: int = Field(ge=0, le=1 << 20)
    write_latency_cycles: int = Field(ge=0, le=1 << 20)
    dram: str = ""
    layout: Literal["blocks", "words"] = "blocks"

    @field_validator("dram")
    @classmethod
    def _known(cls, name: str) -> str:
        if name:
            load_dram(name)
        return name


class _SoreFile(_Strict):
    lanes: int = Field(ge=1, le=4096)
    pipeline_cycles: int = Field(ge=0, le=1024)


class _WuveFile(_Strict):
    lanes: int = Field(ge=1, le=4096)
    slots: int = Field(ge=1, le=64)
    pipeline_cycles: int = Field(ge=0, le=1024)


class _MachineFile(_Strict):
    name: str
    summary: str = ""
    technology: str
    clock_hz: float = Field(gt=0, le=1e11)
    array: _ArrayFile
    buffers: _BuffersFile
    memory: _MemoryFile
    sore: _SoreFile
    wuve: _WuveFile


@functools.cache
def machine_names() -> tuple[str, ...]:
    """The machines that ship with weft."""
    folder = importlib.resources.files("weft.sim.machine") / "presets"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def machine_text(name: str) -> str:
    """The TOML text of a shipped machine, or of the file at the path ``name``.

    Raises:
        MachineError: neither a shipped name nor a readable file.
    """
    if name in machine_names():
        folder = importlib.resources.files("weft.sim.machine") / "presets"
        return (folder / f"{name}.toml").read_text(encoding="utf-8")
    if not name.endswith(".toml"):
        from weft.sim.gpu.prediction.machine import gpu_names

        known = (*machine_names(), *gpu_names())
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        nearest = f"nearest: {', '.join(near)}; " if near else ""
        raise MachineError(
            f"unknown machine {name!r}; {nearest}known: {', '.join(known)}, "
            "or the path of a .toml file"
        )
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MachineError(f"machine file {name}: {error}") from error


def load_machine(name: str) -> Machine:
    """The machine of that name or file.

    Raises:
        MachineError: unknown name, unreadable file, or a field that is missing, unknown, of the
            wrong type or out of range; the message names the field, its value and what is allowed.
    """
    return parse_machine(machine_text(name), source=name)


def with_memory(machine: Machine, dram: str) -> Machine:
    """The machine with another memory model: "simple", or what ``weft.sim.dram`` knows.

    A detailed memory becomes part of the machine's name.

    Raises:
        DramError: a memory that is unknown, or a file that is wrong.
    """
    if dram == "simple":
        return replace(machine, memory=replace(machine.memory, dram=""))
    name = f"{machine.name}+{load_dram(dram).name}"
    return replace(machine, name=name, memory=replace(machine.memory, dram=dram))


def parse_machine(text: str, source: str) -> Machine:
    """Read and validate one machine file's text; ``source`` names it in messages."""
    try:
        parsed = _MachineFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise MachineError(f"machine file {source}: not TOML: {error}") from error
    except ValidationError as error:
        raise MachineError(f"machine file {source}: {_first_fault(error)}") from error
    return Machine(
        name=parsed.name,
        summary=parsed.summary,
        technology=parsed.technology,
        clock_hz=parsed.clock_hz,
        array=Array(**parsed.array.model_dump()),
        buffers=Buffers(**parsed.buffers.model_dump()),
        memory=Memory(**parsed.memory.model_dump()),
        sore=Sore(**parsed.sore.model_dump()),
        wuve=Wuve(**parsed.wuve.model_dump()),
    )


def _first_fault(error: ValidationError) -> str:
    faults = error.errors()
    fault = faults[0]
    field = ".".join(str(part) for part in fault["loc"]) or "file"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        return f"unknown key {field}{more}"
    if fault["type"] == "missing":
        return f"{field} is missing{more}"
    return f"{field} = {fault['input']!r}: {fault['msg']}{more}"
