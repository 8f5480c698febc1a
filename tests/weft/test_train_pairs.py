"""Training runs priced on a machine: every step at what simulate says of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from weft.cli.train import run_train, train_recipes
from weft.models.training.run import train
from weft.models.training.settings import TrainSettings
from weft.simulation import Settings, simulate_workload, trace_workload
from weft.training import pricing_on

MLP = TrainSettings("mlp", "digits", "bdwp", "2:8", steps=12, threads=1, checkpoint_every=6)


def simulated(recipe: str, steps: int) -> tuple[float, float]:
    """The same run, priced without training."""
    from weft.models.zoo import build

    workload = trace_workload(
        lambda: build("mlp", MLP.batch, (1, 8, 8), 10), optimizer="adamw", name="mlp"
    )
    run = simulate_workload(workload, Settings(recipe=recipe, pattern="2:8", steps=steps))
    assert run.energy_j is not None
    return run.time_s, run.energy_j


@pytest.mark.parametrize("recipe", ["dense", "bdwp", "sdgp", "fst", "pgf-stepwise"])
def test_a_trained_run_costs_what_its_simulation_says(recipe: str) -> None:
    run = train(replace(MLP, recipe=recipe), price=pricing_on("sat-vcu1525"))
    time_s, energy_j = simulated(recipe, MLP.steps)
    assert run.time_s == pytest.approx(time_s, rel=1e-9)
    assert run.energy_j == pytest.approx(energy_j, rel=1e-9)


def test_runs_are_priced_on_gpus_too() -> None:
    run = train(replace(MLP, recipe="srste", pattern="2:4"), price=pricing_on("a100-sxm"))
    assert run.time_s is not None
    assert run.time_s > 0


def test_unknown_hardware_is_told_before_training() -> None:
    with pytest.raises(ValueError, match="sat-vcu1526"):
        pricing_on("sat-vcu1526")


def test_layers_that_torch_keeps_dense_are_priced_dense() -> None:
    price = pricing_on("sat-vcu1525")
    skipped = train(replace(MLP, skip=("3",), recipe="fst:dense_share=1"), price=price)
    dense = train(replace(MLP, recipe="dense"), price=price)
    assert skipped.time_s == pytest.approx(dense.time_s, rel=1e-9)


def test_recipes_are_trained_in_pairs(tmp_path: Path) -> None:
    trained = train_recipes(MLP, ("dense", "bdwp"), 2, out=tmp_path)
    assert trained[0].difference is None
    assert trained[1].difference is not None
    gaps = [b.metric - a.metric for a, b in zip(trained[0].runs, trained[1].runs, strict=True)]
    assert trained[1].difference[0] == pytest.approx(sum(gaps) / 2)
    assert (tmp_path / "bdwp" / "seed-1" / "result.json").exists()


def test_json_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.json"
    run_train(MLP, ("dense", "bdwp"), 1, "sat-vcu1525", None, str(target))
    found = json.loads(target.read_text())
    assert [entry["sparse_inference"] for entry in found] == [False, True]
    assert found[1]["standard_error"] is None
    assert found[1]["time_s"] < found[0]["time_s"]
    table = capsys.readouterr().out
    assert "sparse" in table
    assert "sat-vcu1525" in table


def test_no_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds is 0; it must be at least 1"):
        run_train(MLP, ("dense",), 0, "", None, None)


def test_curves_are_one_offline_file_with_a_line_per_recipe(tmp_path: Path) -> None:
    from weft.cli.training_curves import curve_charts, curve_of

    run_train(MLP, ("dense", "bdwp"), 2, "sat-vcu1525", tmp_path, None)
    page = (tmp_path / "curves.html").read_text()
    assert "bdwp (sparse at inference)" in page
    assert not re.search(r"<(script|link)[^>]*(src|href)=", page)
    trained = train_recipes(MLP, ("dense", "bdwp"), 2, hardware="sat-vcu1525")
    curves = [curve_of(entry) for entry in trained]
    for curve, entry in zip(curves, trained, strict=True):
        assert curve.steps[-1] == MLP.steps
        assert curve.time_s[-1] == entry.runs[0].time_s
        assert curve.metric[-1] == pytest.approx(entry.metric)
        assert curve.lowest[-1] <= curve.metric[-1] <= curve.highest[-1]
    for chart in curve_charts(curves, "accuracy", "sat-vcu1525"):
        assert [trace["name"] for trace in chart.traces] == [curve.name for curve in curves]
        assert len(chart.rows) == sum(len(curve.steps) for curve in curves)


def test_a_skip_rule_without_a_layer_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    run_train(replace(MLP, skip=("haed*",)), ("bdwp",), 1, "", None, None)
    assert capsys.readouterr().err == "weft: skip rule 'haed*' matches no layer\n"
