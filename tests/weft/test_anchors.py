"""Exact anchors derived from the paper's definitions (reference: SAT and BDWP, derived)."""

from __future__ import annotations

import pytest

from weft.mapper.sparsity.sparsify import apply_recipe
from weft.models.recipes import RECIPES
from weft.models.zoo import build
from weft.sim.machine import load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import Instruction, Queue, Reduce
from weft.sim.program.timing import duration
from weft.sim.workload import Workload
from weft.simulation import trace_workload


@pytest.fixture(scope="module")
def workloads() -> dict[str, Workload]:
    names = ("resnet18", "resnet18-tiny")
    return {
        name: trace_workload(lambda name=name: build(name, batch=1), name=name) for name in names
    }


@pytest.mark.parametrize(
    ("model", "recipe", "share"),
    [
        ("resnet18", "bdwp", 0.522),
        ("resnet18", "srste", 0.761),
        ("resnet18", "sdgp", 0.761),
        ("resnet18", "sdwp", 0.761),
        ("resnet18-tiny", "bdwp", 0.501),
        ("resnet18-tiny", "srste", 0.751),
    ],
)
def test_share_of_multiply_accumulates_left_at_2_8(
    workloads: dict[str, Workload], model: str, recipe: str, share: float
) -> None:
    sparse = apply_recipe(workloads[model], RECIPES[recipe], Pattern(2, 8)).workload
    assert sparse.macs_done / sparse.macs_dense == pytest.approx(share, abs=0.0006)


def test_sore_takes_1_74_ms_per_direction_for_resnet18() -> None:
    """11.16 M prunable weights, one element per cycle and lane, 32 lanes at 200 MHz."""
    machine = load_machine("sat-vcu1525")
    prune = Instruction(Queue.SORE, Reduce(11_160_000 // 8, Pattern(2, 8)))
    seconds = duration(prune, machine).occupy / machine.clock_hz
    assert seconds == pytest.approx(1.74e-3, rel=0.005)


def test_a_2_8_group_of_halves_is_38_bits_of_128() -> None:
    pattern = Pattern(2, 8)
    bits = pattern.n * (16 + pattern.index_bits)
    assert (bits, round(bits / 128, 3)) == (38, 0.297)
