"""The whole way, from a model to a result, on small models."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import weft
from tests.sim.programs import step
from weft.mapper.planning.plan import make_plan
from weft.mapper.scheduling.schedule import Scheduler
from weft.mapper.sparsity.sparsify import apply_recipe
from weft.models.recipes import RECIPES
from weft.sim.engine import Engine
from weft.sim.machine import load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import check_program
from weft.sim.results import STAGES, RunResult
from weft.simulation import Settings, simulate_workload, trace_workload

TOTAL_KEYS = {
    *("cycles", "time_s", "energy_j", "macs_dense", "macs_done", "dram_bytes"),
    *("stce_utilization", "throughput_gops_effective", "samples_per_s"),
}
LAYER_KEYS = {
    *("name", "stage", "op", "m", "k", "n", "batch", "pattern", "dataflow"),
    *("cycles", "stall_cycles", "busy_cycles", "dram_bytes", "energy_j"),
}


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1, groups=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 64),
        nn.GELU(),
        nn.Linear(64, 10),
    )


def build() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    return network(), (torch.empty(4, 3, 16, 16),)


@pytest.fixture(scope="module")
def workload() -> Any:
    return trace_workload(build, name="small")


SPINE = ("dense", "srste", "sdwp", "sdgp", "bdwp", "transposable", "fst")


@pytest.mark.parametrize("recipe", SPINE)
@pytest.mark.parametrize("without", ["", "pregeneration,interleave", "double-buffering"])
def test_plans_are_well_formed_and_exact(workload: Any, recipe: str, without: str) -> None:
    from weft.mapper.scheduling.switches import parse_without

    machine = load_machine("sat-vcu1525")
    switches = parse_without(without)
    applied = apply_recipe(
        workload,
        RECIPES[recipe].bind((2, 8), 1),
        Pattern(2, 8),
        pregenerate=switches.pregeneration,
    )
    plan = make_plan(applied.workload, Scheduler(machine, switches))
    check_program(plan.program)
    timing = Engine(machine).run(plan.program)
    assert timing.cycles == max(step(plan.program, machine).finishes)


def run(workload: Any, hardware: str = "sat-vcu1525", **settings: Any) -> RunResult:
    return simulate_workload(workload, Settings(**settings).on(hardware)).result


def test_json_has_the_agreed_keys(workload: Any) -> None:
    data = run(workload, recipe="bdwp", pattern="2:8").to_json()
    assert {"schema", "weft_version", "model", "recipe", "pattern", "hardware"} <= set(data)
    assert {"batch", "steps", "total", "stages", "layers", "uncosted"} <= set(data)
    assert set(data["total"]) >= TOTAL_KEYS
    assert set(data["stages"]) == set(STAGES)
    assert all(set(stage) >= TOTAL_KEYS for stage in data["stages"].values())
    assert all(set(layer) >= LAYER_KEYS for layer in data["layers"])
    text = json.dumps(data)
    assert json.dumps(RunResult.from_json(json.loads(text)).to_json()) == text


@pytest.mark.parametrize("recipe", RECIPES)
def test_layers_and_stages_add_up_to_the_total(workload: Any, recipe: str) -> None:
    result = run(workload, recipe=recipe, pattern="" if recipe == "dense" else "2:8")
    total = result.total
    assert sum(layer.cycles or 0 for layer in result.layers) == total.cycles
    assert sum(stage.cycles or 0 for stage in result.stages.values()) == total.cycles
    assert sum(layer.dram_bytes for layer in result.layers) == total.dram_bytes
    assert sum(layer.macs_done for layer in result.layers) == total.macs_done
    energy = sum(layer.energy_j or 0.0 for layer in result.layers)
    assert energy == pytest.approx(total.energy_j)
    assert sum(result.energy_by_component_j.values()) == pytest.approx(total.energy_j)
    for layer in result.layers:
        parts = layer.memory_stall_cycles + layer.dependency_stall_cycles + layer.fill_drain_cycles
        assert parts == layer.stall_cycles


def test_steps_of_a_schedule_are_added_up(workload: Any) -> None:
    """FST prunes until the last sixth of the run, which is dense."""
    whole = run(workload, recipe="fst", pattern="2:4", steps=6)
    sparse = run(workload, recipe="fst", pattern="2:4", steps=1)
    dense = run(workload)
    assert whole.steps == 6
    assert sum(layer.cycles or 0 for layer in whole.layers) == whole.total.cycles
    parts = {n * (sparse.total.cycles or 0) + (6 - n) * (dense.total.cycles or 0) for n in range(7)}
    assert whole.total.cycles in parts


def test_fewer_operations_are_never_slower_here(workload: Any) -> None:
    dense = run(workload)
    sparse = run(workload, recipe="srste", pattern="2:8", dense_stem=False)
    assert sparse.total.macs_done < dense.total.macs_done == dense.total.macs_dense


def test_public_api() -> None:
    model, inputs = network(), (torch.zeros(4, 3, 16, 16),)
    dense = weft.simulate(model, inputs)
    sparse = weft.simulate(model, inputs, recipe="bdwp", pattern="2:8", hardware="sat-vcu1525")
    assert sparse.cycles == sparse.result.total.cycles
    assert sparse.speedup_over(dense) == pytest.approx(dense.time_s / sparse.time_s)
    assert sparse.layers[0]["name"] == "0"


def test_pruned_weights_are_recognised_and_used() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Linear(64, 8))
    weight = model[2].weight.detach()
    groups = weight.abs().view(64, 16, 4)
    keep = torch.zeros_like(groups).scatter(-1, groups.topk(1, -1).indices, 1.0)
    prune.custom_from_mask(model[2], "weight", keep.view_as(weight))
    result = weft.simulate(model, (torch.zeros(8, 64),), recipe="from-weights").result
    found = {(row.layer, row.axis): row for row in result.weights}
    assert found["2", "k"].pattern == "1:4"
    assert found["2", "k"].share == 1.0
    assert found["2", "k"].zeros == 0.75
    sparse = [layer for layer in result.layers if layer.pattern == "1:4"]
    assert [layer.stage for layer in sparse] == ["ff", "sore"]  # and packed after the update


def test_run_folder_and_report_command(workload: Any, tmp_path: Path) -> None:
    simulate_workload(workload, Settings(recipe="bdwp", pattern="2:8")).report(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"run.json", "layers.parquet", "report.html", "trace.perfetto.json"}
    target = tmp_path / "report.md"
    subprocess.run(
        [
            *(sys.executable, "-m", "weft", "report", str(tmp_path / "run")),
            *("--format", "md", "--out", str(target)),
        ],
        check=True,
        capture_output=True,
    )
    assert "bdwp" in target.read_text()


@pytest.mark.parametrize("hardware", ["a100-sxm", "h100-sxm"])
def test_gpus_give_the_same_result_without_cycles(workload: Any, hardware: str) -> None:
    dense = run(workload, hardware=hardware)
    sparse = run(workload, hardware=hardware, recipe="srste", pattern="2:4")
    assert dense.total.cycles is None
    assert dense.total.time_s > 0
    assert set(sparse.to_json()["layers"][0]) >= LAYER_KEYS
    octets = run(workload, hardware=hardware, recipe="srste", pattern="2:8")
    assert any("2:8" in note and "dense" in note for note in octets.notes)


def test_predict_fills_a_table(tmp_path: Path) -> None:
    table = tmp_path / "products.csv"
    table.write_text("m,n,k,batch,sparsity\n512,512,512,1,dense\n512,512,512,1,2:8\n64,64,64,4,\n")
    out = tmp_path / "out.csv"
    subprocess.run(
        [
            *(sys.executable, "-m", "weft", "predict", str(table)),
            *("--hardware", "sat-vcu1525", "--out", str(out)),
        ],
        check=True,
    )
    rows = [line.split(",") for line in out.read_text().splitlines()]
    assert rows[0] == ["m", "n", "k", "batch", "sparsity", "cycles"]
    dense, sparse = int(rows[1][5]), int(rows[2][5])
    assert dense >= 512**3 // 1024
    assert dense / 4 < sparse < dense


def test_json_on_stdout_is_only_json(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(32, 32), (torch.empty(4, 32),)\n"
    )
    result = subprocess.run(
        [sys.executable, "-m", "weft", "simulate", f"{path}:build", "--json", "-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout)["batch"] == 4
