"""Properties of the control modules are proved, and violations that no program shows refuted."""

from __future__ import annotations

import pytest

from weft.rtl.checking.prove import PROOFS, PROPERTIES, Proof, holds, main

BY_NAME = {proof.module: proof for proof in PROOFS}


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.module)
def test_the_properties_hold(proof: Proof) -> None:
    assert holds(proof)


@pytest.mark.parametrize(
    ("module", "violation"),
    [("store_unit", 0), ("store_unit", 1), ("row_feeder", 0)],
)
def test_faults_that_no_program_shows_are_refuted(module: str, violation: int) -> None:
    proof = BY_NAME[module]
    assert not holds(proof, proof.violations[violation])


@pytest.mark.deep
@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.module)
def test_every_planted_violation_is_refuted(proof: Proof) -> None:
    assert proof.violations
    assert not [violation for violation in proof.violations if holds(proof, violation)]


def test_every_file_of_properties_is_proved() -> None:
    files = {path.stem.removesuffix("_properties") for path in PROPERTIES.glob("*.sv")}
    assert files == set(BY_NAME)


def test_a_proof_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queues"]) == 2
    assert "no proof of 'queues'; known: token_counters" in capsys.readouterr().err


def test_a_violation_must_be_in_the_module() -> None:
    with pytest.raises(ValueError, match="beat_pacer: 0 times 'nothing'"):
        holds(BY_NAME["beat_pacer"], ("nothing", ""))
