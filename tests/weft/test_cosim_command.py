"""``weft cosim`` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys

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
