"""Fitting the power constants to measured watts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from weft.sim.gpu.fitting.measured import Measured
from weft.sim.gpu.fitting.optimize import robust_least_squares
from weft.sim.gpu.prediction.kernel import Array
from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.gpu.prediction.power import (
    BUSY_US,
    CLOCK_EXPONENT,
    LIMIT_SHARE,
    PowerConstants,
    PowerSet,
    weights,
)

__all__ = ["fit_power", "write_power"]

BRIEF_WEIGHT = 0.2
"""What such kernels count in a fit: many rows, whose draw launches and gaps decide, not work."""


def write_power(values: PowerSet, path: Path) -> None:
    """Write a set in the form in which the package ships it."""
    numbers = {name: float(f"{value:.5g}") for name, value in asdict(values.constants).items()}
    table = {"gpu": values.gpu, "constants": numbers, "provenance": dict(values.provenance)}
    path.write_text(json.dumps(table, indent=2) + "\n")


def fit_power(measured: Measured, use: Array, gpu: GpuMachine) -> PowerConstants:
    """Power constants from measured watts and from what sustained runs lose to the cap.

    ``use`` is the :func:`activity` of the burst runs. The slow-down of runs that pass the limit
    tells the demand that the clipped watts cannot.
    """
    share = measured.watts / gpu.power_limit_w
    slowed = np.log(measured.sustained_us / measured.time_us)
    busy = measured.sustained_us >= BUSY_US

    def error(logs: Array) -> Array:
        demand = use @ np.exp(logs)
        watts = np.log(np.minimum(demand, LIMIT_SHARE) / share) * np.where(busy, 1.0, BRIEF_WEIGHT)
        slow = CLOCK_EXPONENT * np.log(np.maximum(demand / LIMIT_SHARE, 1.0)) - slowed
        return np.concatenate([watts, slow[busy]])

    start = np.log(weights(PowerConstants()))
    point = robust_least_squares(error, start, scale=0.05)
    idle, active, tensor, memory = np.exp(point).tolist()
    return PowerConstants(idle, active, tensor, memory)
