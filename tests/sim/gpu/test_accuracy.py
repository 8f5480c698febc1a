"""The errors that the models promise, on measured tables where those are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from weft.sim.gpu.fitting.fit import mape
from weft.sim.gpu.fitting.measured import LINEAR_TABLES, PAIR_GPUS, folds, load_linear, load_pairs
from weft.sim.gpu.prediction.predict import ProductTable, predict
from weft.sim.gpu.published.accuracy import linear_accuracy, pair_accuracy
from weft.sim.gpu.published.published import cluster_checks, throughput_checks, vit_l_check

DATA = Path(__file__).parents[3] / "../shared/data/gpu"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no measured GPU tables here")

LINEAR = {"a100-sxm": 8.0, "h100-sxm": 6.5, "h200-sxm": 7.0, "b200-sxm": 9.0, "l40s": 14.0}


@pytest.mark.parametrize("gpu", sorted(LINEAR_TABLES))
def test_shipped_constants_predict_the_tables_they_come_from(gpu: str) -> None:
    table = load_linear(DATA, gpu)
    times = predict(ProductTable.of(table.m, table.n, table.k), gpu).time_us
    assert mape(times, table.time_us) < LINEAR[gpu]


@pytest.mark.parametrize("gpu", ["a100-pcie", "h100-pcie", "b200-sxm"])
def test_shipped_constants_tell_whether_sparsity_pays(gpu: str) -> None:
    pairs = load_pairs(DATA, gpu)
    sides: list[np.ndarray] = []
    for side, sparsity in ((pairs.dense, "dense"), (pairs.sparse, "2:4")):
        table = ProductTable.of(side.m, side.n, side.k, sparsity=sparsity)
        sides.append(predict(table, gpu, dense_library="cublaslt").time_us)
    model = sides[0][pairs.dense_at] / sides[1][pairs.sparse_at]
    truth = pairs.dense.time_us[pairs.dense_at] / pairs.sparse.time_us[pairs.sparse_at]
    assert np.mean((model > 1) == (truth > 1)) >= 0.93


def test_folds_hold_out_whole_weight_shapes() -> None:
    table = load_linear(DATA, "h100-sxm")
    fold = folds(table)
    shapes = [set(zip(table.n[fold == f], table.k[fold == f], strict=True)) for f in range(5)]
    assert sum(len(s) for s in shapes) == len(set.union(*shapes))


def test_published_steps_are_within_what_the_bench_reports() -> None:
    clusters = [check.error for check in cluster_checks(DATA)]
    assert np.mean(np.abs(clusters)) < 7
    assert abs(np.mean(clusters)) < 6
    assert np.median([abs(check.error) for check in throughput_checks(DATA)]) < 9
    (*_, speedup) = vit_l_check(DATA)
    assert abs(speedup.error) < 5


@pytest.mark.deep
@pytest.mark.parametrize("gpu", sorted(LINEAR_TABLES))
def test_unseen_weight_shapes(gpu: str) -> None:
    found = linear_accuracy(DATA, gpu)
    assert found.model <= LINEAR[gpu]
    assert found.model < found.roofline_fitted < found.roofline
    assert not found.watts > 8.0


@pytest.mark.deep
@pytest.mark.parametrize("gpu", sorted(PAIR_GPUS))
def test_unseen_pairs(gpu: str) -> None:
    found = pair_accuracy(DATA, gpu)
    if gpu in ("a100-pcie", "h100-pcie", "b200-sxm"):
        assert found.sparse_big <= 9.0
        assert found.speedup <= 7.0
        assert found.sign >= 93.0
        assert found.speedup < min(found.speedup_twice, found.speedup_median)
