"""A saved case is the case: every kind of work comes back as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rtl.test_mutants import suite
from tests.rtl.vector_cases import pool_cases, several_results_cases
from weft.rtl.cosimulation.casefile import CaseFileError, read_case, write_case
from weft.rtl.cosimulation.simulate import Pauses
from weft.sim.machine import load_machine
from weft.sim.program import Matmul, Reduce, Transfer, Update, Vector, expand

MACHINE = load_machine("sat-4x4")
PAUSES = Pauses(10, 20, 30, 40, 50, 7)


def test_a_case_comes_back_as_it_was(tmp_path: Path) -> None:
    kinds: set[type] = set()
    for place, case in enumerate(
        [*suite()[::3], *pool_cases(MACHINE), *several_results_cases(MACHINE)]
    ):
        path = tmp_path / f"{place}.npz"
        write_case(path, case, MACHINE, PAUSES)
        again, machine, pauses = read_case(path)
        assert (machine, pauses) == (MACHINE, PAUSES)
        assert (again.name, again.program, again.tensors) == (case.name, case.program, case.tensors)
        assert np.array_equal(again.memory, case.memory)
        assert (again.expected is None) == (case.expected is None)
        if case.expected is not None and again.expected is not None:
            assert np.array_equal(again.expected, case.expected)
        kinds |= {type(instruction.work) for instruction in expand(again.program.body)}
    assert kinds >= {Transfer, Matmul, Reduce, Update, Vector}


def test_what_is_no_case_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.npz"
    for content in (b"", b"nothing", b"PK"):
        path.write_bytes(content)
        with pytest.raises(CaseFileError, match=r"no\.npz is no co-simulation case"):
            read_case(path)
    with pytest.raises(CaseFileError, match="is no co-simulation case"):
        read_case(tmp_path / "missing.npz")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_still_the_case(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "case.npz"
    case = pool_cases(MACHINE)[0]
    write_case(path, case, MACHINE, PAUSES)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        again, _, _ = read_case(path)
    except CaseFileError:
        return
    assert again.program == case.program
    assert np.array_equal(again.memory, case.memory)
