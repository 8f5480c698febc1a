"""No schedule beats the physical limits, and large dense products come close to them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.mapper.products import SMALL, convolutions, matrices, product
from weft.mapper.scheduling.limits import limits_of
from weft.mapper.scheduling.schedule import Scheduler
from weft.mapper.scheduling.tiling import Fused
from weft.sim.machine import load_machine
from weft.sim.pattern import Pattern
from weft.sim.workload import Product, Stage

VCU1525 = load_machine("sat-vcu1525")


@given(st.one_of(matrices(), convolutions()))
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_no_schedule_is_below_the_limit(work: Product) -> None:
    limits = limits_of(work, SMALL)
    assert limits.cycles <= Scheduler(SMALL).pick(work, Fused()).cycles


@pytest.mark.parametrize("pattern", ["dense", "2:8"])
def test_a_large_product_is_within_two_percent_of_its_limit(pattern: str) -> None:
    work = product(Stage.FF, 8192, 4096, 4096).with_sparsity("right", Pattern.parse(pattern))
    limits = limits_of(work, VCU1525)
    cycles = Scheduler(VCU1525).pick(work, Fused()).cycles
    assert limits.compute_cycles > limits.dram_cycles
    assert limits.cycles <= cycles <= 1.02 * limits.cycles


def test_a_product_with_one_row_is_bound_by_its_weights() -> None:
    limits = limits_of(product(Stage.FF, 1, 4096, 4096), VCU1525)
    assert limits.dram_cycles == (2 * 4096 * 4096 + 2 * 4096) / 256 > limits.compute_cycles


def test_traffic_grows_when_operands_do_not_stay_on_chip() -> None:
    """Beyond some size it is more than reading and writing everything once."""
    size = 1 << 17
    once = (2 * 2 * size * size) / 256
    assert limits_of(product(Stage.FF, size, size, size), VCU1525).dram_cycles > once
