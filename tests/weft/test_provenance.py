"""What a run says of where it comes from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from weft.mapper.pricing.find import find_machine
from weft.mapper.pricing.settings import GpuSettings, SatSettings
from weft.models.zoo import build
from weft.provenance import provenance, source_commit
from weft.simulation import simulate

ROOT = Path(__file__).parents[2]


def test_the_commit_is_gits_own() -> None:
    if not (ROOT / ".git").is_dir():
        pytest.skip("not a git checkout")
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("git is not installed")
    assert source_commit() == found.stdout.strip()


def test_every_kind_of_number_says_what_it_rests_on() -> None:
    sat = provenance(find_machine(SatSettings()), "weft x")
    gpu = provenance(find_machine(GpuSettings("h100-sxm")))
    assert sat["command"] == "weft x"
    assert "command" not in gpu
    assert {"validated_cycles", "validated_energy", "validated_work"} <= set(sat)
    assert {"validated_time", "validated_energy", "validated_work"} <= set(gpu)
    assert "validated_cycles" not in gpu


def test_runs_from_python_carry_it_too() -> None:
    run = simulate(lambda: build("mlp", batch=2))
    assert run.result.provenance["machine_file"] == "sat-vcu1525"
