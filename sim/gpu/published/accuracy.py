"""Errors of the kernel model on weight shapes (N, K) that its fit has not seen.

Five folds over weight shapes: all rows of a shape are held out together. Every figure stands
beside those of simple models on the same rows and beside the noise between runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.sim.gpu.fitting.baselines import datasheet_roofline, fit_roofline
from weft.sim.gpu.fitting.fit import mape, predict_measured
from weft.sim.gpu.fitting.measured import Measured, Pairs, folds, load_linear, load_pairs, run_noise
from weft.sim.gpu.fitting.power import fit_power
from weft.sim.gpu.fitting.refit import fit_linear, fit_pairs_side
from weft.sim.gpu.prediction.constants import KernelConstants
from weft.sim.gpu.prediction.kernel import Array, kernel_times
from weft.sim.gpu.prediction.machine import GpuMachine, load_gpu
from weft.sim.gpu.prediction.power import PowerSet, activity, board_power
from weft.sim.gpu.prediction.predict import kernel_kind

__all__ = ["BIG_FLOP", "LinearAccuracy", "PairAccuracy", "linear_accuracy", "pair_accuracy"]

BIG_FLOP = 20e9
"""Products from here on are counted for the 2:4 speed-up: below, launches hide the arithmetic."""

LONG_US = 200.0
"""Kernels from here on are counted for power: shorter ones never reach a steady draw."""


@dataclass(frozen=True)
class LinearAccuracy:
    """Percent errors on one table of linear layers; ``training_`` rows have M, N, K >= 512.

    ``noise`` is how far one run is from another of the same shape (mean, then median); ``watts``
    is that of board power on kernels of 200 us or more, NaN where none was measured.
    ``sustained`` compares times under the power cap with the sustained runs.
    """

    gpu: str
    rows: int
    model: float
    fitted: float
    training_shapes: float
    roofline: float
    roofline_fitted: float
    noise: float
    noise_median: float
    run_to_median: float
    watts: float
    watts_constant: float
    sustained: float


@dataclass(frozen=True)
class PairAccuracy:
    """Percent errors on one table of dense and 2:4 products, held out by weight shape.

    Latencies over all measured rows and over those of 20 GFLOP or more; speed-ups over pairs of
    20 GFLOP or more; ``sign`` is the share of all pairs for which faster or slower is right.
    """

    gpu: str
    dense_rows: int
    sparse_rows: int
    pairs: int
    dense: float
    sparse: float
    dense_big: float
    sparse_big: float
    speedup: float
    speedup_all: float
    speedup_twice: float
    speedup_median: float
    sign: float
    sign_big: float
    noise: float


def _held_out(
    measured: Measured, fold: NDArray[np.int64], model: Callable[[Measured, Measured], Array]
) -> Array:
    """Predictions of each fold by ``model(train, test)`` fitted on the others."""
    out = np.zeros(len(measured))
    for at in np.unique(fold):
        out[fold == at] = model(measured.where(fold != at), measured.where(fold == at))
    return out


def _flop(measured: Measured) -> Array:
    return 2.0 * measured.m * measured.n * measured.k


def _use(
    measured: Measured, constants: KernelConstants, gpu: GpuMachine
) -> tuple[Array, Array]:  # fmt: skip
    """Activity and burst times of ``measured``."""
    kind = kernel_kind(gpu, "bf16", sparse=False)
    times = kernel_times(measured.products, kind, gpu, constants)
    peak = gpu.peak_flop_s("bf16")
    moved, blocks = times.memory_bytes, times.blocks
    return activity(times.time_us, _flop(measured), moved, blocks, peak, gpu), times.time_us


def _power(
    measured: Measured,
    fold: NDArray[np.int64],
    fitted: Mapping[int, KernelConstants],
    gpu: GpuMachine,
) -> dict[str, float]:
    """Held-out errors of watts and of sustained times; NaN without measured power."""
    known = np.isfinite(measured.watts) & np.isfinite(measured.sustained_us)
    if not known.any():
        return dict.fromkeys(("watts", "watts_constant", "sustained"), float("nan"))
    rows, fold = measured.where(known), fold[known]
    watts, sustained = np.zeros(len(rows)), np.zeros(len(rows))
    for at, constants in fitted.items():
        train, test = rows.where(fold != at), rows.where(fold == at)
        use, _ = _use(train, constants, gpu)
        power = PowerSet(gpu.name, fit_power(train, use, gpu))
        use, times = _use(test, constants, gpu)
        drawn = board_power(times, use, gpu, power)
        watts[fold == at], sustained[fold == at] = drawn.watts, drawn.sustained_us
    long = rows.sustained_us >= LONG_US
    middle = np.full(int(long.sum()), float(np.median(rows.watts[long])))
    return {
        "watts": mape(watts[long], rows.watts[long]),
        "watts_constant": mape(middle, rows.watts[long]),
        "sustained": mape(sustained, rows.sustained_us),
    }


def linear_accuracy(
    folder: Path, name: str, count: int = 5, *, effort: float = 1.0
) -> LinearAccuracy:
    """Errors of one GPU's table of linear layers; ``effort`` of fits, 1: as those that ship."""
    gpu, measured = load_gpu(name), load_linear(folder, name)
    kind, fold = kernel_kind(gpu, "bf16", sparse=False), folds(measured, count)
    fitted = {at: fit_linear(measured.where(fold != at), gpu, effort=effort) for at in range(count)}
    model, training = np.zeros(len(measured)), list[float]()
    for at, constants in fitted.items():
        test, train = measured.where(fold == at), measured.where(fold != at)
        model[fold == at] = predict_measured(test, gpu, constants, kind)
        training.append(mape(predict_measured(train, gpu, constants, kind), train.time_us))

    def roofline(train: Measured, test: Measured) -> Array:
        return fit_roofline(train, gpu).times_us(test, gpu)

    big = measured.training
    noise = run_noise(measured)
    to_median = np.abs(measured.runs / measured.time_us[:, None] - 1.0)
    return LinearAccuracy(
        name,
        len(measured),
        mape(model, measured.time_us),
        float(np.mean(training)),
        mape(model[big], measured.time_us[big]),
        mape(datasheet_roofline(measured, gpu), measured.time_us),
        mape(_held_out(measured, fold, roofline), measured.time_us),
        noise["mean"],
        noise["median"],
        100.0 * float(np.nanmean(to_median)),
        **_power(measured, fold, fitted, gpu),
    )


def _pair_folds(pairs: Pairs, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One assignment of weight shapes to folds for both sides."""
    dense, sparse = pairs.dense, pairs.sparse
    joined = Measured(
        "pairs",
        np.concatenate([dense.m, sparse.m]),
        np.concatenate([dense.n, sparse.n]),
        np.concatenate([dense.k, sparse.k]),
        np.concatenate([dense.time_us, sparse.time_us]),
    )
    fold = folds(joined, count)
    return fold[: len(pairs.dense)], fold[len(pairs.dense) :]


def pair_accuracy(folder: Path, name: str, count: int = 5, *, effort: float = 1.0) -> PairAccuracy:
    """Errors of one GPU's dense and 2:4 products, both sides of every pair unseen."""
    gpu, pairs = load_gpu(name), load_pairs(folder, name)

    def side(sparse: bool) -> Callable[[Measured, Measured], Array]:
        kind = kernel_kind(gpu, "bf16", sparse=sparse)

        def model(train: Measured, test: Measured) -> Array:
            constants = fit_pairs_side(train, gpu, sparse=sparse, effort=effort)
            return predict_measured(test, gpu, constants, replace(kind, weight_copies=1.0))

        return model

    dense_fold, sparse_fold = _pair_folds(pairs, count)
    dense = _held_out(pairs.dense, dense_fold, side(False))
    sparse = _held_out(pairs.sparse, sparse_fold, side(True))
    at, to = pairs.dense_at, pairs.sparse_at
    truth = pairs.dense.time_us[at] / pairs.sparse.time_us[to]
    speedup = dense[at] / sparse[to]
    dense_big, sparse_big = _flop(pairs.dense) >= BIG_FLOP, _flop(pairs.sparse) >= BIG_FLOP
    big = dense_big[at]
    train_medians = np.array([np.median(truth[big & (dense_fold[at] != f)]) for f in range(count)])
    right = np.equal(speedup > 1, truth > 1).astype(np.float64)
    return PairAccuracy(
        name,
        len(pairs.dense),
        len(pairs.sparse),
        int(big.sum()),
        mape(dense, pairs.dense.time_us),
        mape(sparse, pairs.sparse.time_us),
        mape(dense[dense_big], pairs.dense.time_us[dense_big]),
        mape(sparse[sparse_big], pairs.sparse.time_us[sparse_big]),
        mape(speedup[big], truth[big]),
        mape(speedup, truth),
        mape(np.full(int(big.sum()), 2.0), truth[big]),
        mape(train_medians[dense_fold[at]][big], truth[big]),
        100.0 * float(np.mean(right)),
        100.0 * float(np.mean(right[big])),
        run_noise(pairs.sparse)["mean"],
    )
