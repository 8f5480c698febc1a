"""How a step runs on each kind of machine: one settings type per kind, and which kind a name is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypedDict

from weft.sim.gpu.prediction.machine import gpu_names
from weft.sim.ideal import IDEAL

__all__ = [
    "GpuSettings",
    "IdealSettings",
    "MachineOptions",
    "MachineSettings",
    "SatSettings",
    "machine_settings",
    "takes",
]


@dataclass(frozen=True)
class SatSettings:
    """A SAT machine: a preset's name or the path of a TOML file.

    ``without`` is a comma-separated list of features to turn off. ``memory`` is "simple" or a DRAM
    of ``weft.sim.dram`` ("": as the machine file says).
    """

    hardware: str = "sat-vcu1525"
    without: str = ""
    memory: str = ""


@dataclass(frozen=True)
class GpuSettings:
    """GPUs of one kind.

    ``gpus`` are laid out as ``tensor`` x ``context`` x data x ``pipeline`` ranks, ``expert`` of
    them sharing experts; a batch is that of a data rank and runs ``micro_batch`` samples at a time
    (0: all, one in a pipeline). ``schedule``, ``virtual``, ``checkpoint`` and ``attention`` are of
    ``weft.sim.gpu.parallel.layout.Layout`` and ``weft.sim.gpu.prediction.settings.GpuSettings``.
    ``cluster`` is a TOML file of links ("": as their maker wires them). ``tune``: degrees left at 1
    are chosen, with the checkpointing, for the highest throughput that fits.

    ``fusion`` is "eager" or "compile", ``dtype`` that of products ("auto": bf16 where the GPU has
    it). Gradients and parameters travel as ``strategy`` says: one of ``link.STRATEGIES``.
    ``constants`` is a file of ``weft calibrate`` ("": those that ship).
    """

    hardware: str
    fusion: str = "eager"
    dtype: str = "auto"
    gpus: int = 1
    strategy: str = "replicated"
    constants: str = ""
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    expert: int = 1
    micro_batch: int = 0
    schedule: str = "1f1b"
    virtual: int = 1
    checkpoint: str = "none"
    attention: str = "auto"
    cluster: str = ""
    tune: bool = False


@dataclass(frozen=True)
class IdealSettings:
    """``systolic-ideal``: it prices tables of products, no steps."""

    hardware: str = IDEAL


MachineSettings = SatSettings | GpuSettings | IdealSettings


class MachineOptions(TypedDict, total=False):
    """What the settings of some kind of machine take; those left out keep that kind's default."""

    without: str
    memory: str
    fusion: str
    dtype: str
    gpus: int
    strategy: str
    constants: str
    tensor: int
    pipeline: int
    context: int
    expert: int
    micro_batch: int
    schedule: str
    virtual: int
    checkpoint: str
    attention: str
    cluster: str
    tune: bool


_KINDS: dict[type[Any], str] = {
    SatSettings: "SAT machines",
    GpuSettings: "GPUs",
    IdealSettings: IDEAL,
}


def _kind(hardware: str) -> type[Any]:
    if hardware in gpu_names():
        return GpuSettings
    return IdealSettings if hardware == IDEAL else SatSettings


def _options(kind: type[Any]) -> set[str]:
    return {field.name for field in fields(kind)} - {"hardware"}


def takes(hardware: str, option: str) -> bool:
    """Whether machines like ``hardware`` have that option."""
    return option in _options(_kind(hardware))


def machine_settings(hardware: str, options: MachineOptions) -> MachineSettings:
    """The settings of the machine called ``hardware``, of its own kind.

    Raises:
        ValueError: an option that this kind of machine does not take.
    """
    kind = _kind(hardware)
    for name, value in options.items():
        if name not in _options(kind):
            owners = [text for other, text in _KINDS.items() if name in _options(other)]
            raise ValueError(f"{name} {value!r} is for {' and '.join(owners)}, not {hardware}")
    return kind(hardware=hardware, **options)
