"""The benchmarks measure what they say, on a model small enough for a test."""

from __future__ import annotations

from benchmarks.masks import measure_masks, measure_wrapped_step


def test_masks_are_measured_over_both_axes() -> None:
    found = measure_masks("mlp", 2, 4)
    assert found["elements"] == 2 * (784 * 300 + 300 * 100 + 100 * 10)
    assert found["masks_cpu_s"] > 0


def test_a_wrapped_step_is_measured_beside_the_dense_one() -> None:
    found = measure_wrapped_step("mlp", batch=4)
    assert found["dense_cpu_s"] > 0
    assert found["ratio"] > 0.2
