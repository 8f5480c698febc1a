"""Board power of a running kernel, the power cap, and what the cap costs sustained work.

Demand = idle + active x (SMs with a thread block) + tensor x (share of peak tensor rate)
+ memory x (share of peak memory rate), all in shares of the power limit. Below the limit the
board draws the demand. Above it the clock falls until the limit holds; dynamic power goes with
frequency times voltage squared, so the clock falls with the cube root of the excess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import cast

import numpy as np

from weft.sim.gpu.prediction.kernel import Array
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu

__all__ = [
    "POWER_SIBLINGS",
    "BoardPower",
    "PowerConstants",
    "PowerSet",
    "activity",
    "board_power",
    "load_power",
]

LIMIT_SHARE = 0.985
"""Mean draw of a board held at its limit (691 of 700 W on H200, 985 of 1000 W on B200: medians of
the busy rows of the tables named in each set's provenance)."""

CLOCK_EXPONENT = 1.0 / 3.0

BUSY_US = 50.0
"""Shorter kernels never meet the cap: gaps between them leave the board room."""


@dataclass(frozen=True)
class PowerConstants:
    """Shares of the power limit that each activity demands at full use."""

    idle: float = 0.2
    active: float = 0.1
    tensor: float = 1.3
    memory: float = 0.45


@dataclass(frozen=True)
class PowerSet:
    """Power constants of a GPU; ``inherited_from`` names the measured GPU when it is another."""

    gpu: str
    constants: PowerConstants
    provenance: Mapping[str, str | int | float] = field(
        default_factory=dict[str, str | int | float]
    )
    inherited_from: str = ""


@dataclass(frozen=True)
class BoardPower:
    """Arrays per kernel. ``sustained_us`` is the time once the power cap has set in."""

    watts: Array
    demand_watts: Array
    sustained_us: Array


POWER_SIBLINGS = {"blackwell": "b200-sxm", "blackwell-geforce": "b200-sxm"}
"""Measured GPU whose shares an unmeasured architecture takes; all others take the H200's."""


@cache
def _measured_sets() -> dict[str, PowerSet]:
    folder = resources.files("weft.sim.gpu.prediction") / "power_constants"
    found: dict[str, PowerSet] = {}
    for entry in folder.iterdir():
        if entry.name.endswith(".json"):
            table = cast("dict[str, object]", json.loads(entry.read_text()))
            values = cast("dict[str, float]", table["constants"])
            provenance = cast("dict[str, str | int | float]", table["provenance"])
            name = str(table["gpu"])
            found[name] = PowerSet(name, PowerConstants(**values), provenance)
    return found


UNCAPPED = ("ampere",)
"""Generations whose boards hold their clock at full tensor load: an A100 at its 400 W ran a 16384
cubed product at 302 of 312 TFLOP/s with the clock locked at 1410 MHz (NVIDIA/cutlass issue 408).
The A100's tables come from runs of up to a second as well, so what heat costs is in its set."""


def load_power(gpu: GpuMachine) -> PowerSet:
    """The power constants of a GPU, its own or those of the nearest measured one.

    A board of the same dies with another limit demands the same watts, another share.
    """
    sets = _measured_sets()
    if gpu.name in sets:
        return sets[gpu.name]
    other = POWER_SIBLINGS.get(gpu.architecture, "h200-sxm")
    found = sets[other].constants
    if gpu.architecture in UNCAPPED:
        most = found.idle + found.active + found.tensor
        share = LIMIT_SHARE / most
    elif gpu.architecture == load_gpu(other).architecture:
        full = gpu.sms * gpu.clock_hz / (load_gpu(other).sms * load_gpu(other).clock_hz)
        share = load_gpu(other).power_limit_w / gpu.power_limit_w * full
    else:
        share = 1.0
    scaled = PowerConstants(*(share * value for value in weights(found)))
    return PowerSet(gpu.name, scaled, sets[other].provenance, other)


def activity(
    time_us: Array,
    flop: Array,
    memory_bytes: Array,
    blocks: Array,
    peak_flop_s: Array | float,
    gpu: GpuMachine,
) -> Array:
    """Use of SMs, tensor cores and memory in shares of their peaks; shape (kernels, 4)."""
    seconds = time_us * 1e-6
    return np.stack(
        [
            np.ones_like(time_us),
            np.minimum(1.0, blocks / gpu.sms),
            flop / seconds / peak_flop_s,
            memory_bytes / seconds / gpu.memory_bytes_s,
        ],
        axis=1,
    )


def weights(constants: PowerConstants) -> Array:
    return np.array([constants.idle, constants.active, constants.tensor, constants.memory])


def board_power(time_us: Array, use: Array, gpu: GpuMachine, power: PowerSet) -> BoardPower:
    """Draw of kernels whose burst times are ``time_us`` and whose :func:`activity` is ``use``."""
    demand = use @ weights(power.constants)
    slow = np.maximum(1.0, demand / LIMIT_SHARE) ** CLOCK_EXPONENT
    limit = gpu.power_limit_w
    return BoardPower(
        limit * np.minimum(demand, LIMIT_SHARE), limit * demand, time_us * slow
    )  # fmt: skip
