"""Fitting the kernel model's constants to measured products.

The fit works on logarithms of the constants inside their physical bounds: a robust least-squares
search from several starts, then a simplex on the mean absolute percentage error. A small pull
towards the starting constants keeps those that the data cannot see where a sibling put them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from weft.sim.gpu.fitting.measured import Measured
from weft.sim.gpu.fitting.optimize import robust_least_squares, simplex
from weft.sim.gpu.prediction.constants import BOUNDS, KernelConstants
from weft.sim.gpu.prediction.kernel import Array, KernelKind, kernel_times
from weft.sim.gpu.prediction.machine import GpuMachine

__all__ = ["ALL", "STARTS", "FitSettings", "fit_constants", "mape", "predict_measured"]

ALL = tuple(BOUNDS)

STARTS = (
    KernelConstants(),
    KernelConstants(feed_bytes_clk=35.0, step_us=0.3, wave_hardness=0.6, l2_fraction=0.15),
    KernelConstants(
        feed_bytes_clk=34.0, step_us=0.29, wave_hardness=1.0, l2_fraction=0.06, store_bytes_clk=8.5
    ),
    KernelConstants(
        feed_bytes_clk=11.5,
        step_us=0.3,
        wave_hardness=0.9,
        store_bytes_clk=4.3,
        throttle=0.55,
        throttle_us=1000.0,
    ),
)
"""Starting points: like Hopper with smooth waves, twice like Ampere with hard waves, like Ada with
a narrow path from the L2."""


@dataclass(frozen=True)
class FitSettings:
    """``rows`` fitted at most (drawn by ``seed``); ``pull`` is the weight of the start, per row.

    ``training_share`` of the rows drawn are training shapes (M, N, K >= 512); None: as they come.
    """

    rows: int = 3000
    training_share: float | None = None
    iterations: int = 30
    polish: int = 400
    pull: float = 0.0
    seed: int = 1


def mape(predicted: Array, measured: Array) -> float:
    """Mean absolute percentage error."""
    return 100.0 * float(np.mean(np.abs(predicted / measured - 1.0)))


def predict_measured(
    measured: Measured, gpu: GpuMachine, constants: KernelConstants, kind: KernelKind
) -> Array:
    """Model times (us) of a table's products, under the table's reuse of weights."""
    kind = replace(kind, weight_copies=measured.weight_copies)
    return kernel_times(measured.products, kind, gpu, constants).time_us


def _search(
    error: Callable[[Array], Array], start: Array, low: Array, high: Array, settings: FitSettings
) -> Array:
    """The best point of a robust least-squares search, polished on the mean absolute error."""
    inside = np.clip(start, low + 1e-3, high - 1e-3)
    point = robust_least_squares(error, inside, (low, high), evaluations=settings.iterations)

    def score(at: Array) -> float:
        return float(np.mean(np.abs(np.expm1(error(np.clip(at, low, high))))))

    for step in (0.06, 0.2) if settings.polish else ():
        point = np.clip(simplex(score, point, step, settings.polish // 2), low, high)
    return point


def _sample(measured: Measured, settings: FitSettings) -> Measured:
    if len(measured) <= settings.rows:
        return measured
    order = np.random.default_rng(settings.seed).permutation(len(measured))
    share = settings.training_share
    if share is not None:
        training = measured.training[order]
        count = round(share * settings.rows)
        order = np.concatenate([order[training][:count], order[~training]])
    return measured.where(order[: settings.rows].astype(np.int64))


def fit_constants(
    measured: Measured,
    gpu: GpuMachine,
    kind: KernelKind,
    starts: Sequence[KernelConstants] = STARTS,
    free: Sequence[str] = ALL,
    settings: FitSettings = FitSettings(),
) -> KernelConstants:
    """Constants with the least mean absolute percentage error; those not ``free`` stay.

    Raises:
        ValueError: fewer rows than free constants.
    """
    if len(measured) < len(free):
        raise ValueError(
            f"{measured.table}: {len(measured)} rows cannot fit {len(free)} constants; "
            f"at least {len(free)} are needed"
        )
    sample = _sample(measured, settings)
    truth: NDArray[np.float64] = np.log(sample.time_us)
    low = np.log([BOUNDS[name][0] for name in free])
    high = np.log([BOUNDS[name][1] for name in free])
    results: list[tuple[float, KernelConstants]] = []
    for start in starts:
        home = np.log([getattr(start, name) for name in free])

        def build(at: Array, start: KernelConstants = start) -> KernelConstants:
            return replace(start, **dict(zip(free, np.exp(at).tolist(), strict=True)))

        def error(at: Array, home: Array = home) -> Array:
            gaps = np.log(predict_measured(sample, gpu, build(at), kind)) - truth
            pull = settings.pull * np.sqrt(len(sample)) * (at - home)
            return np.concatenate([gaps, pull]) if settings.pull else gaps

        found = build(_search(error, home, low, high, settings))
        score = mape(predict_measured(sample, gpu, found, kind), sample.time_us)
        results.append((score, found))
    return min(results, key=lambda result: result[0])[1]
