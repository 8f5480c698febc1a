"""The kernel model: physics bounds, monotonicity, and one row equal to that row among many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.sim.gpu.prediction.machine import gpu_names, load_gpu
from weft.sim.gpu.prediction.predict import ELEMENT_BYTES, ProductTable, predict

SIZES = st.integers(1, 40_000)
GPUS = st.sampled_from(gpu_names())
SPARSE_GPUS = st.sampled_from([name for name in gpu_names() if load_gpu(name).sparse_ratio == 2])


def one(gpu: str, m: int, n: int, k: int, sparsity: str = "dense", dtype: str = "fp16") -> float:
    table = ProductTable.of([m], [n], [k], dtype=dtype, sparsity=sparsity)
    return float(predict(table, gpu).time_us[0])


@given(GPUS, SIZES, SIZES, SIZES, st.integers(1, 64))
@settings(max_examples=150, deadline=None)
def test_time_is_finite_and_never_beats_the_datasheet(
    gpu: str, m: int, n: int, k: int, batch: int
) -> None:
    machine = load_gpu(gpu)
    result = predict(ProductTable.of([m], [n], [k], batch, "fp16"), gpu)
    time_s = result.time_us[0] * 1e-6
    assert np.isfinite(time_s)
    assert time_s >= 2.0 * m * n * k * batch / machine.peak_flop_s("fp16")
    assert 0 < result.watts[0] <= machine.power_limit_w


@given(SPARSE_GPUS, SIZES, SIZES, SIZES)
@settings(max_examples=150, deadline=None)
def test_sparse_never_beats_twice_the_dense_peak(gpu: str, m: int, n: int, k: int) -> None:
    sparse = one(gpu, m, n, k, "2:4") * 1e-6
    assert sparse >= 2.0 * m * n * k / load_gpu(gpu).peak_flop_s("fp16", sparse=True)


@given(GPUS, SIZES, SIZES, SIZES, st.sampled_from("mnk"), st.integers(2, 8))
@settings(max_examples=200, deadline=None)
def test_more_work_never_takes_much_less_time(
    gpu: str, m: int, n: int, k: int, axis: str, factor: int
) -> None:
    """Whole multiples of a size: the data shows dips of up to a few percent from tile effects."""
    grown = {"m": m, "n": n, "k": k}
    grown[axis] *= factor
    after = one(gpu, grown["m"], grown["n"], grown["k"])
    assert after >= 0.97 * one(gpu, m, n, k)


@given(st.lists(st.tuples(SIZES, SIZES, SIZES, st.booleans()), min_size=2, max_size=40), GPUS)
@settings(max_examples=40, deadline=None)
def test_a_row_alone_equals_the_row_in_a_table(
    rows: list[tuple[int, int, int, bool]], gpu: str
) -> None:
    m, n, k, sparse = zip(*rows, strict=True)
    patterns = ["2:4" if flag else "dense" for flag in sparse]
    together = predict(ProductTable.of(m, n, k, dtype="fp16", sparsity=patterns), gpu).time_us
    alone = [one(gpu, *row[:3], pattern) for row, pattern in zip(rows, patterns, strict=True)]
    np.testing.assert_array_equal(together, alone)


def test_a_table_longer_than_a_chunk_is_whole() -> None:
    sizes = np.arange(1, 1502, dtype=np.float64)
    times = predict(ProductTable.of(sizes, sizes, sizes), "h100-sxm").time_us
    assert times[1400] == one("h100-sxm", 1401, 1401, 1401, dtype="bf16")


def test_other_patterns_run_dense_and_say_so() -> None:
    table = ProductTable.of([4096], [4096], [4096], sparsity="2:8")
    result = predict(table, "h100-sxm")
    assert result.time_us[0] == one("h100-sxm", 4096, 4096, 4096, dtype="bf16")
    assert "2:8 runs dense: h100-sxm has tensor cores for 2:4 only" in result.notes


def test_a_gpu_without_sparse_cores_says_so() -> None:
    table = ProductTable.of([4096], [4096], [4096], dtype="fp16", sparsity="2:4")
    assert "2:4 runs dense: v100-sxm has no sparse tensor cores" in predict(table, "v100-sxm").notes


def test_borrowed_constants_are_named() -> None:
    (note,) = predict(ProductTable.of([64], [64], [64]), "l4").notes
    assert "inherited from l40s" in note


@pytest.mark.parametrize("dtype", sorted(ELEMENT_BYTES))
def test_every_dtype_runs_on_hopper(dtype: str) -> None:
    assert one("h100-sxm", 512, 512, 512, dtype=dtype) > 0


def test_bad_rows_are_named() -> None:
    with pytest.raises(ValueError, match=r"row 2: k is 0; it must be a whole number, 1 to 2\^40"):
        ProductTable.of([1, 1], [1, 1], [1, 0])
    with pytest.raises(ValueError, match="row 1: dtype is 'fp4'; it must be one of fp16"):
        ProductTable.of([1], [1], [1], dtype="fp4")
    with pytest.raises(ValueError, match="dtype 'fp8' does not run on a100-sxm; it has fp16"):
        one("a100-sxm", 1, 1, 1, dtype="fp8")
