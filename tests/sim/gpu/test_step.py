"""Training steps on a GPU: sums, fusion, sparsity, attention, links."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.sim.gpu.prediction.fusion import vector_costs
from weft.sim.gpu.prediction.link import ALGORITHMS, STRATEGIES, Cluster, collective_s, traffic_s
from weft.sim.gpu.prediction.machine import load_gpu
from weft.sim.gpu.prediction.step import GpuRun, GpuSettings, simulate_step
from weft.sim.gpu.published.shapes import TransformerShape, resnet50, transformer
from weft.sim.pattern import Pattern
from weft.sim.workload import (
    Convolution,
    MaskWork,
    Operand,
    Product,
    Role,
    Stage,
    UpdateOp,
    VectorOp,
    Workload,
)

SMALL = TransformerShape("small", 2, 1024, 16, 4096, 8192)


def step(gpu: str = "a100-sxm", **more: Any) -> GpuRun:
    return simulate_step(transformer(SMALL, 8, 512), gpu, **more)


def sparse(workload: Workload, pattern: Pattern) -> Workload:
    items = tuple(
        item.with_sparsity("right", pattern)
        if isinstance(item, Product) and item.stage is not Stage.WU and item.op == "mm"
        else item
        for item in workload.items
    )
    return replace(workload, items=items)


def linear(pattern: Pattern, convolution: Convolution | None = None) -> Workload:
    x, w, y = (
        Operand(role, 4096 * 4096) for role in (Role.ACTIVATION, Role.WEIGHT, Role.ACTIVATION)
    )
    product = Product("l", Stage.FF, "mm", 4096, 4096, 4096, 1, x, w, y, (), convolution)
    return Workload("one", 1, (product.with_sparsity("right", pattern),))


def test_a_step_is_the_sum_of_its_items() -> None:
    run = step()
    assert run.time_s == pytest.approx(sum(item.time_us for item in run.items) * 1e-6)
    assert run.energy_j == pytest.approx(sum(item.energy_j for item in run.items))
    assert sum(run.stage_s().values()) == pytest.approx(run.time_s)
    assert run.macs_dense == transformer(SMALL, 8, 512).macs_dense
    assert 0 < run.model_flop_utilization < 1
    assert "optimizer after the backward pass, overlapping with nothing" in run.notes


def test_compiling_never_costs_and_the_products_stay() -> None:
    eager, compiled = step(), step(fusion="compile")
    assert compiled.time_s < eager.time_s
    assert compiled.stage_s()["ff"] == pytest.approx(eager.stage_s()["ff"])


def test_faster_gpus_and_larger_batches_order_as_they_must() -> None:
    assert step("h100-sxm").time_s < step("a100-sxm").time_s
    twice = simulate_step(transformer(SMALL, 16, 512), "a100-sxm")
    assert step().time_s < twice.time_s < 2 * step().time_s


def test_two_of_four_runs_sparse_and_saves() -> None:
    dense = transformer(TransformerShape("wide", 2, 4096, 32, 16384), 8, 1024)
    saved = simulate_step(sparse(dense, Pattern(2, 4)), "a100-sxm")
    assert {item.ran for item in saved.items if item.pattern == "2:4"} == {"2:4"}
    assert saved.time_s < simulate_step(dense, "a100-sxm").time_s


@pytest.mark.parametrize(
    ("gpu", "pattern", "note"),
    [
        ("a100-sxm", Pattern(2, 8), "2:8 runs dense: a100-sxm has tensor cores for 2:4 only"),
        ("v100-sxm", Pattern(2, 4), "2:4 runs dense: v100-sxm has no sparse tensor cores"),
    ],
)
def test_patterns_without_hardware_run_dense_and_say_so(
    gpu: str, pattern: Pattern, note: str
) -> None:
    run = simulate_step(linear(pattern), gpu, dtype="fp16")
    assert note in run.notes
    assert run.time_s == simulate_step(linear(Pattern(1, 1)), gpu, dtype="fp16").time_s


def test_wide_convolutions_have_no_sparse_kernel() -> None:
    shape = Convolution(1, 455, 4096, (64, 64), (64, 64), (3, 3), (1, 1), (1, 1))
    run = simulate_step(linear(Pattern(2, 4), shape), "a100-sxm")
    assert any("convolutions with kernels above 1x1 run dense" in note for note in run.notes)


def test_a_sparse_left_operand_costs_what_it_costs_on_the_right() -> None:
    right = linear(Pattern(2, 4))
    (product,) = right.products
    left = replace(right, items=(replace(product, sparse_operand="left"),))
    assert simulate_step(left, "h100-sxm").time_s == simulate_step(right, "h100-sxm").time_s


def test_masks_updates_and_accumulation_are_priced() -> None:
    mask = MaskWork("w:k", "w", 10_000_000, Pattern(2, 4), "k", "weight")
    update = UpdateOp("w", "w", 10_000_000, "adamw", 2)
    workload = Workload("w", 1, (mask, update), parameters=10_000_000)
    run = simulate_step(workload, "a100-sxm", master_weights=False)
    assert [item.stage for item in run.items] == ["sore", "optimizer"]
    quarter = simulate_step(workload, "a100-sxm", master_weights=False, accumulate=4)
    assert quarter.time_s < run.time_s / 2
    fused = simulate_step(workload, "a100-sxm", master_weights=False, fused_optimizer=True)
    assert fused.time_s < run.time_s


def test_eight_bit_products_pay_for_scaling() -> None:
    run = step("h100-sxm", dtype="fp8")
    assert any(item.op == "scale to 8 bits" for item in run.items)
    bf16 = step("h100-sxm")
    attention = [[i.time_us for i in r.items if i.ran == "attention"] for r in (run, bf16)]
    assert sum(attention[0]) == pytest.approx(sum(attention[1]), rel=0.1)


def chain(*ops: VectorOp) -> Workload:
    return Workload("chain", 1, ops)


def test_fusion_reads_once_and_writes_what_others_need() -> None:
    first = VectorOp("a", Stage.FF, "native_layer_norm", 100, 200, 100)
    then = VectorOp("a", Stage.FF, "relu", 100, 100, 100, elementwise=True, inputs=(0,))
    last = VectorOp("a", Stage.FF, "add", 100, 200, 100, elementwise=True, inputs=(1, 0))
    eager = vector_costs(chain(first, then, last), "eager")
    assert [(c.reads, c.writes, c.launches) for c in eager.values()] == [
        (100, 100, 1),
        (100, 100, 1),
        (200, 100, 1),
    ]
    compiled = vector_costs(chain(first, then, last), "compile")
    assert [(c.reads, c.writes, c.launches) for c in compiled.values()] == [
        (100, 100, 1),
        (0, 0, 0),
        (100, 100, 0),
    ]


def test_unknown_settings_are_named() -> None:
    with pytest.raises(ValueError, match="fusion is 'jit'; it must be one of eager, compile"):
        step(fusion="jit")
    with pytest.raises(ValueError, match="accumulate is 0; it must be at least 1"):
        GpuSettings(accumulate=0)
    with pytest.raises(ValueError, match="dtype 'bf16' does not run on v100-sxm"):
        step("v100-sxm", dtype="bf16")
    with pytest.raises(ValueError, match="optimizer 'lion' is unknown; known: sgd"):
        simulate_step(Workload("w", 1, (UpdateOp("w", "w", 1, "lion"),)), "a100-sxm")


def test_a_gpu_without_bf16_takes_fp16_by_itself() -> None:
    assert step("v100-sxm").settings.dtype == "fp16"
    assert step().settings.dtype == "bf16"


def test_resnet50_has_its_published_size() -> None:
    workload = resnet50(1)
    assert workload.parameters == pytest.approx(25_557_032, rel=0.001)
    forward = sum(p.macs_dense for p in workload.products if p.stage is Stage.FF)
    assert forward == pytest.approx(4.09e9, rel=0.01)


@given(st.integers(1, 512), st.sampled_from(ALGORITHMS), st.floats(1.0, 1e11), st.floats(1.1, 16.0))
@settings(max_examples=100, deadline=None)
def test_collectives_grow_with_size_and_obey_the_links(
    gpus: int, algorithm: str, size: float, factor: float
) -> None:
    cluster = Cluster.of(load_gpu("h100-sxm"), gpus, algorithm=algorithm)
    once, more = (collective_s("gather", s, cluster) for s in (size, size * factor))
    assert once <= more
    assert (once == 0) == (gpus == 1)
    assert once >= (gpus - 1) / gpus * size / (450e9 if gpus <= 8 else 8 * 50e9) * (gpus > 1) * 0.8
    ring = replace(cluster, algorithm="ring")
    assert collective_s("all-reduce", size, ring) == pytest.approx(
        2 * collective_s("gather", size, ring)
    )


@given(st.integers(2, 256), st.sampled_from(STRATEGIES))
@settings(max_examples=40, deadline=None)
def test_communication_is_hidden_at_most_and_at_least(gpus: int, strategy: str) -> None:
    cluster = Cluster.of(load_gpu("a100-sxm"), gpus)
    run = step(cluster=cluster, strategy=strategy)
    assert 0 < run.exposed_s <= run.communication_s
    assert run.time_s > run.exposed_s
    assert run.gpus == gpus


def test_traffic_names_unknown_strategies() -> None:
    with pytest.raises(ValueError, match="strategy is 'pipeline'; it must be one of replicated"):
        traffic_s("pipeline", 1, Cluster(8, 8, 1e9, 1e9))


def two_of_four(m: int, k: int, n: int) -> Workload:
    ends = [Operand(Role.ACTIVATION, m * k), Operand(Role.WEIGHT, k * n, parameter="w"),
            Operand(Role.ACTIVATION, m * n)]  # fmt: skip
    product = Product("layer", Stage.FF, "mm", m, k, n, 1, *ends)
    return Workload("one", 1, (product.with_sparsity("right", Pattern(2, 4)),))


@pytest.mark.parametrize(
    ("sizes", "dtype", "ran", "note"),
    [
        ((4096, 4096, 4096), "bf16", "2:4", ""),
        ((4096, 4096, 4100), "bf16", "dense", "2:4 runs dense, sizes no multiple of 16: layer"),
        ((4097, 4096, 4096), "bf16", "dense", "2:4 runs dense, sizes no multiple of 8: layer"),
        ((4096, 4112, 4096), "int8", "dense", "2:4 runs dense, sizes no multiple of 32: layer"),
        ((4096, 4096, 4096), "tf32", "dense", "2:4 products of tf32 run dense: cuSPARSELt takes"),
        ((64, 64, 64), "bf16", "2:4", "2:4, and dense would be faster: layer"),
    ],
)
def test_two_of_four_runs_only_where_the_library_takes_it(
    sizes: tuple[int, int, int], dtype: str, ran: str, note: str
) -> None:
    run = simulate_step(two_of_four(*sizes), "a100-sxm", dtype=dtype)
    assert run.items[0].ran == ran
    assert not note or any(found.startswith(note) for found in run.notes)
