"""Programs that together make every module of ``sat_top`` do all that it can."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tests.rtl.small_network import small_network
from tests.rtl.test_cosim import random_pauses, random_suite
from tests.rtl.test_mutants import suite
from tests.rtl.test_step_cosim import BDWP
from tests.rtl.vector_cases import elementwise_cases, pool_cases, row_cases
from weft.mapper.placement.place import Hyperparameters
from weft.rtl.checking.coverage import BINS, cover
from weft.rtl.cosimulation.cosim import compare
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import IDEAL, simulate
from weft.rtl.cosimulation.stream import Mask, mask_case, update_case
from weft.sim.machine import load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import Update
from weft.step_cosim import prepare

MACHINE = load_machine("sat-4x4")


def streams() -> list[Case]:
    """What neither products nor the planted faults' suite do with SORE and WUVE."""
    draw = np.random.default_rng(9)
    values = draw.standard_normal(4000).astype(np.float16)
    cases = [*elementwise_cases(MACHINE), *row_cases(MACHINE, 1), *pool_cases(MACHINE)]
    few = values[: MACHINE.wuve.lanes]
    plain = Update(0, "sgd", (0.1, 0.0, 0.0))
    wide = few.astype(np.float32)
    cases.append(update_case("one round", MACHINE, wide, wide, few, few.size, plain))
    lanes = MACHINE.sore.lanes
    for n, m in ((1, 16), (2, 8), (4, 8), (2, 4)):
        for across in (0, lanes):
            mask = Mask(Pattern(n, m), across)
            cases.append(mask_case(f"{n}:{m}", MACHINE, values[: lanes * m], lanes * m, mask))
    return cases


def covered() -> Counter[str]:
    products = random_suite(MACHINE, 54, 60, seed=100)
    cases = [*products, *suite(), *streams()]
    pauses = random_pauses(len(cases), seed=7)
    found: Counter[str] = Counter()
    for case, pause, run in zip(cases, pauses, simulate(MACHINE, cases, pauses), strict=True):
        if not case.name.startswith("tokens"):
            assert compare(case, MACHINE, pause, run, 0.0).agrees
        found += cover(MACHINE, case, pause, run)
    return found + covered_by_a_step()


def covered_by_a_step() -> Counter[str]:
    """Loads that gather word by word, and runs longer than a burst."""
    plan, _, case = prepare(small_network, "network", BDWP, 0, Hyperparameters())
    (run,) = simulate(plan.machine, [case])
    assert compare(case, plan.machine, IDEAL, run, 0.0).agrees
    return cover(plan.machine, case, IDEAL, run)


def test_no_bin_is_empty() -> None:
    found = covered()
    for name in BINS:
        print(f"{name:45} {found[name]}")
    assert [name for name in BINS if not found[name]] == []
