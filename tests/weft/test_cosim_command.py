"""``weft cosim`` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from weft.cli.cosim import run_cosim
from weft.rtl.cosimulation import cosim as cosim_module
from weft.rtl.cosimulation.build import BuildError
from weft.rtl.cosimulation.cosim import CosimError
from weft.rtl.cosimulation.simulate import SimulationError

KEYS = {
    *("rtl_cycles", "engine_cycles", "reference_cycles", "cycle_difference"),
    *("values_checked", "values_different", "instructions", "simulator", "wall_s"),
}


def test_cosim_prints_the_agreed_json_and_agrees() -> None:
    result = subprocess.run(
        [
            *(sys.executable, "-m", "weft", "cosim", "--product", "20,33,17"),
            *("--pattern", "2:4", "--dataflow", "os", "--array", "4x4", "--json", "-"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert set(data) >= KEYS
    assert data["cycle_difference"] == data["values_different"] == 0
    assert data["rtl_cycles"] == data["engine_cycles"] == data["reference_cycles"] > 0
    step = data["instructions"][0]
    assert {"rtl_start", "rtl_finish", "engine_start", "engine_finish"} <= set(step)


def failing(error: Exception) -> Any:
    def simulate(*_: object, **__: object) -> None:
        raise error

    return simulate


def test_a_verilog_that_hangs_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cosim_module, "simulate", failing(SimulationError("still running")))
    assert run_cosim("8,8,8", "dense", "os", "4x4", 0, None, None, None) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "still running" in said
    assert "weft cosim --program" in said
    assert list((tmp_path / "runs" / "cosim").glob("*.npz"))


def test_a_build_that_fails_is_a_line_that_ends_with_what_the_tool_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = BuildError("make failed with status 2:\na\nb\ng++: not found")
    monkeypatch.setattr(cosim_module, "simulate", failing(error))
    with pytest.raises(CosimError, match=r"^make failed with status 2: a b g\+\+: not found$"):
        run_cosim("8,8,8", "dense", "os", "4x4", 0, None, None, None)


@pytest.mark.parametrize("wave", ["run.txt", "missing/run.fst"])
def test_a_waveform_that_cannot_be_is_refused_in_one_line(wave: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "weft", "cosim", "--wave", str(tmp_path / wave)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("weft: waveform ")
    assert result.stderr.count("\n") == 1
