"""The same Verilog under Icarus: it elaborates without a warning and gives the same results."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rtl.small_network import small_network
from tests.rtl.test_mutants import suite
from tests.rtl.test_step_cosim import BDWP
from weft.mapper.placement.place import Hyperparameters
from weft.rtl.cosimulation.build import BuildError, Design
from weft.rtl.cosimulation.cosim import compare
from weft.rtl.cosimulation.icarus import compile_icarus, has_icarus
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import IDEAL, RtlRun, cosim_design, outcomes
from weft.rtl.hardware import VERILOG
from weft.rtl.inspection.structure import closure
from weft.sim.machine import Machine, load_machine
from weft.step_cosim import prepare

pytestmark = pytest.mark.skipif(not has_icarus(), reason="Icarus Verilog is not installed")

FILES = sorted(VERILOG.glob("*.v"))
MACHINE = load_machine("sat-4x4")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_module_elaborates_without_a_warning(path: Path) -> None:
    assert compile_icarus(Design(path.stem, closure(path.stem))) == ""


def test_the_bench_does_too() -> None:
    for name in ("sat-4x4", "sat-4x8", "sat-4x4-words"):
        assert compile_icarus(cosim_design(load_machine(name), 4096, 22)) == ""


def test_a_fault_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.v").write_text(
        "module broken (input wire a);\n    nothing x ();\nendmodule\n"
    )
    with pytest.raises(BuildError, match="iverilog failed"):
        compile_icarus(Design("broken", (tmp_path / "broken.v",)))


def agree(machine: Machine, cases: list[Case]) -> None:
    for case, run in zip(cases, outcomes(machine, cases, icarus=True), strict=True):
        assert isinstance(run, RtlRun), (case.name, run)
        result = compare(case, machine, IDEAL, run, 0.0)
        assert result.agrees, (case.name, result.differences[:2])


def test_programs_of_every_unit_agree() -> None:
    agree(MACHINE, [case for case in suite() if not case.name.startswith("tokens")][::5])


@pytest.mark.deep
def test_all_programs_of_every_unit_agree() -> None:
    agree(MACHINE, [case for case in suite() if not case.name.startswith("tokens")])


@pytest.mark.deep
def test_a_whole_training_step_agrees() -> None:
    plan, step, case = prepare(small_network, "network", BDWP, 0, Hyperparameters())
    (run,) = outcomes(plan.machine, [case], icarus=True)
    assert isinstance(run, RtlRun)
    assert compare(case, plan.machine, IDEAL, run, 0.0).agrees
    checks = step.check(case, run.memory, Hyperparameters())
    assert not [check for check in checks if check.different]
