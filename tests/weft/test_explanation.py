"""The critical path and what-if table of whole runs; ablations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.weft.test_simulate import build
from weft.mapper.scheduling.switches import feature_names
from weft.simulation import Run, Settings, simulate_workload, trace_workload


@pytest.fixture(scope="module")
def explained() -> Run:
    workload = trace_workload(build, name="small")
    return simulate_workload(workload, Settings(recipe="bdwp", pattern="2:8", steps=3)).explained()


def test_the_critical_path_adds_up_to_the_run(explained: Run) -> None:
    assert sum(explained.result.critical_path_cycles.values()) == explained.cycles


def test_latency_derivatives_bound_what_simulation_again_finds(explained: Run) -> None:
    """Time is convex in durations: no saving is more than the derivative promises."""
    for row in explained.result.what_if:
        if row.knob.endswith("latency_cycles"):
            assert row.same_schedule_cycles is not None
            assert row.same_schedule_cycles <= row.unit_cycles * (row.old - row.new) + 1e-6


def test_choosing_schedules_anew_is_at_least_as_good_for_each_product(explained: Run) -> None:
    knobs = {row.knob for row in explained.result.what_if}
    assert {"array.rows", "buffers.left_bytes", "wuve.lanes"} <= knobs
    assert len(knobs) == len(explained.result.what_if)


def test_ablate_prints_every_feature(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\n"
        "def build():\n"
        "    return torch.nn.Linear(256, 256), (torch.empty(64, 256),)\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "weft", "ablate", f"{path}:build", "--json", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    (row,) = json.loads(result.stdout)
    assert row[",".join(feature_names())] >= row["all on"]
    assert set(row) == {"model", "all on", *feature_names(), ",".join(feature_names())}
