"""What simple models say of the same products: the bar that the kernel model has to pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weft.sim.gpu.fitting.measured import Measured
from weft.sim.gpu.fitting.optimize import robust_least_squares, simplex
from weft.sim.gpu.prediction.kernel import Array
from weft.sim.gpu.prediction.machine import GpuMachine

__all__ = ["FittedRoofline", "datasheet_roofline", "fit_roofline"]


def _work(measured: Measured, gpu: GpuMachine) -> tuple[Array, Array]:
    """Times (us) at the datasheet's peak rate and at its memory bandwidth, two-byte elements."""
    m, n, k = measured.m, measured.n, measured.k
    compute = 2.0 * m * n * k / gpu.peak_flop_s("fp16") * 1e6
    memory = 2.0 * (m * k + k * n + m * n) / gpu.memory_bytes_s * 1e6
    return compute, memory


def datasheet_roofline(measured: Measured, gpu: GpuMachine) -> Array:
    """The longer of compute at peak and traffic at peak bandwidth, us."""
    return np.maximum(*_work(measured, gpu))


@dataclass(frozen=True)
class FittedRoofline:
    """Launch time and reached shares of peak compute and bandwidth."""

    launch_us: float
    compute_share: float
    memory_share: float

    def times_us(self, measured: Measured, gpu: GpuMachine) -> Array:
        compute, memory = _work(measured, gpu)
        return self.launch_us + np.maximum(
            compute / self.compute_share, memory / self.memory_share
        )  # fmt: skip


def fit_roofline(measured: Measured, gpu: GpuMachine) -> FittedRoofline:
    """The roofline with the least mean absolute log error."""
    truth = np.log(measured.time_us)

    def build(logs: Array) -> FittedRoofline:
        return FittedRoofline(*np.exp(logs).tolist())

    def error(logs: Array) -> Array:
        return np.log(build(logs).times_us(measured, gpu)) - truth

    point = robust_least_squares(error, np.log([3.0, 0.7, 0.8]))
    return build(simplex(lambda at: float(np.mean(np.abs(error(at)))), point, 0.05, 200))
