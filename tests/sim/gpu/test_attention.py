"""Attention kernels, activation checkpointing, the parts of a step, and boards of other limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.sim.gpu.prediction.attention_rates import KERNELS, attention_flop_s
from weft.sim.gpu.prediction.machine import load_gpu
from weft.sim.gpu.prediction.power import load_power
from weft.sim.gpu.prediction.settings import CHECKPOINTS, GpuSettings
from weft.sim.gpu.prediction.step import PARTS, simulate_step
from weft.sim.gpu.published.shapes import TransformerShape, resnet50, transformer

SHAPE = TransformerShape("small", 4, 1024, 8, 4096, 50000)
WORKLOAD = transformer(replace(SHAPE, causal=True), 4, 2048)
FULL = transformer(SHAPE, 4, 2048)


def rate(kernel: str, length: float, *, backward: bool = False, causal: bool = False) -> float:
    return attention_flop_s(
        kernel, "hopper", 989.4e12, size=128, length=length, backward=backward, causal=causal
    )


@pytest.mark.parametrize(
    ("length", "backward", "causal", "published"),
    [
        (512, False, False, 309), (2048, False, False, 362), (16384, False, False, 370),
        (512, False, True, 191), (1024, False, True, 260), (16384, False, True, 335),
        (512, True, False, 214), (2048, True, False, 291), (16384, True, False, 322),
    ],
)  # fmt: skip
def test_flash_attention_2_on_h100_is_near_its_published_bars(
    length: int, backward: bool, causal: bool, published: float
) -> None:
    found = rate("flash2", length, backward=backward, causal=causal)
    assert found / 1e12 == pytest.approx(published, rel=0.1)


@given(
    st.sampled_from([k for k in KERNELS if k not in ("auto", "math")]),
    st.sampled_from(["volta", "ampere", "ada", "hopper", "blackwell", "blackwell-geforce"]),
    st.floats(16, 1e6), st.floats(1.01, 8), st.integers(16, 512), st.booleans(), st.booleans(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_rates_grow_with_length_and_stay_below_the_peak(
    kernel: str, architecture: str, length: float, factor: float, size: int, backward: bool,
    causal: bool,
) -> None:  # fmt: skip
    rates = [
        attention_flop_s(kernel, architecture, 312e12, size=size, length=n, backward=backward,
                         causal=causal)
        for n in (length, length * factor)
    ]  # fmt: skip
    assert 0 < rates[0] < rates[1] < 312e12


def test_a_causal_mask_halves_long_attention_and_nothing_else() -> None:
    causal, full = (simulate_step(w, "h100-sxm") for w in (WORKLOAD, FULL))
    assert 0.5 < causal.parts_s["attention"] / full.parts_s["attention"] < 0.7
    assert causal.parts_s["products"] == full.parts_s["products"]


def test_newer_kernels_are_faster_and_the_math_path_is_slowest() -> None:
    times = [simulate_step(WORKLOAD, "h100-sxm", attention=k).time_s
             for k in ("flash3", "flash2", "triton1")]  # fmt: skip
    assert times == sorted(times)


def test_parts_add_up_and_name_everything() -> None:
    run = simulate_step(WORKLOAD, "a100-sxm", checkpoint="full", host_us=5000.0)
    assert tuple(run.parts_s) == PARTS
    assert sum(run.parts_s.values()) == pytest.approx(run.time_s)
    assert run.parts_s["host"] > 0


def test_checkpointing_costs_what_it_computes_again() -> None:
    runs = {c: simulate_step(WORKLOAD, "h100-sxm", checkpoint=c) for c in CHECKPOINTS}
    none, full = runs["none"], runs["full"]
    assert none.time_s < runs["selective"].time_s < runs["selective-op"].time_s < full.time_s
    head = next(i for i in none.items if i.name == "head" and i.stage == "ff")
    again = full.parts_s["products"] - none.parts_s["products"]
    products = sum(i.time_us for i in none.items if i.part == "products"
                   and i.stage == "ff")  # fmt: skip
    assert again == pytest.approx((products - head.time_us) * 1e-6)


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="checkpoint is 'half'; it must be one of none, selective"):
        GpuSettings(checkpoint="half")
    with pytest.raises(ValueError, match="attention is 'flash9'; it must be one of auto, math"):
        GpuSettings(attention="flash9")


def test_a_lower_limit_slows_what_is_power_bound() -> None:
    full, low = (simulate_step(WORKLOAD, gpu) for gpu in ("h100-sxm", "h100-96-500w"))
    assert low.parts_s["products"] > 1.05 * full.parts_s["products"]
    watts = [load_power(load_gpu(n)).constants.tensor * load_gpu(n).power_limit_w
             for n in ("h100-sxm", "h100-96-500w", "h200-sxm")]  # fmt: skip
    assert watts[0] == pytest.approx(watts[1]) == pytest.approx(watts[2])
    assert load_power(load_gpu("a100-sxm")).constants.tensor < 1


def test_images_are_turned_for_tf32_and_not_where_kernels_take_them_as_they_are() -> None:
    images = resnet50(8)
    as_it_is, turned = (
        simulate_step(images, "a100-sxm", dtype="tf32", layout=layout).parts_s["products"]
        for layout in ("nhwc", "nchw")
    )
    assert turned > 1.2 * as_it_is
    old = [simulate_step(images, "v100-sxm", dtype="fp16", layout=layout).time_s
           for layout in ("nhwc", "nchw")]  # fmt: skip
    assert old[0] == old[1]
    with pytest.raises(ValueError, match="layout is 'chwn'; it must be one of nhwc, nchw"):
        GpuSettings(layout="chwn")
