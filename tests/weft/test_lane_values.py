"""Lane programs as the emulation in torch works them out: bit for bit as the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.sim.test_vector_programs import LANES, run, work_of
from weft.emulation import lane_values
from weft.sim.lanes import Kind
from weft.sim.lanes.programs import ELEMENTWISE, compile_program


def drawn(name: str) -> bool:
    phases = compile_program(name).phases
    return any(op.kind is Kind.RANDOM for phase in phases for op in phase.ops)


NAMES = [name for name, made in ELEMENTWISE.items() if made.inputs and not drawn(name)]


@pytest.mark.parametrize("name", NAMES)
def test_two_evaluations_agree_on_any_bits(name: str) -> None:
    draw = np.random.default_rng(len(name))
    size = 64 * LANES
    operands = [
        draw.integers(0, 1 << 16, size, dtype=np.uint16).view(np.float16)
        for _ in range(ELEMENTWISE[name].inputs)
    ]
    reference, _ = run(work_of(name, size), operands)
    ours = lane_values(name, [torch.from_numpy(x.copy()) for x in operands]).numpy()
    nan = np.isnan(reference[:size])
    assert np.array_equal(np.isnan(ours), nan)
    assert np.array_equal(ours.view(np.uint16)[~nan], reference[:size].view(np.uint16)[~nan])


def test_most_programs_are_compared() -> None:
    assert len(NAMES) > 100
