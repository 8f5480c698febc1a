"""GPUs from the command line's side: several of them, other types, a user's own constants."""

from __future__ import annotations

from pathlib import Path

import pytest

from weft.cli.calibrate import run_calibrate
from weft.cli.predict import predict_table
from weft.mapper.pricing.settings import MachineOptions
from weft.models.zoo import build
from weft.sim.workload import Workload
from weft.simulation import Settings, resolve, simulate_workload, trace_workload


@pytest.fixture(scope="module")
def workload() -> Workload:
    return trace_workload(lambda: build("char-gpt", batch=64), name="char-gpt")


def measurements(folder: Path) -> Path:
    """A GPU of 400 TFLOP/s and 6 us launches; no other limit."""
    path = folder / "measured.csv"
    sizes = [2**power for power in range(7, 14)]
    rows = [
        f"{m},{n},{k},bf16,dense,{6 + 2e6 * m * n * k / 4e14:.4f}"
        for m in sizes
        for n in sizes[::2]
        for k in sizes[1::2]
    ]
    path.write_text("m,n,k,dtype,sparsity,time_us\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("strategy", ["replicated", "sharded", "sharded-gradients"])
def test_several_gpus_do_all_the_work_and_wait_for_each_other(
    workload: Workload, strategy: str
) -> None:
    one = simulate_workload(workload, Settings().on("h100-sxm")).result
    eight = simulate_workload(workload, Settings().on("h100-sxm", gpus=8, strategy=strategy)).result
    assert (eight.hardware, eight.batch) == ("h100-sxm x8", 8 * one.batch)
    assert eight.total.macs_done == 8 * one.total.macs_done
    assert one.total.samples_per_s < eight.total.samples_per_s <= 8.8 * one.total.samples_per_s
    assert any("of communication" in note for note in eight.notes)
    if strategy == "replicated":
        assert eight.total.time_s >= one.total.time_s
        assert (eight.total.energy_j or 0) == pytest.approx(8 * (one.total.energy_j or 0), rel=0.2)


def test_rows_add_up_over_the_kinds_of_step(workload: Workload) -> None:
    run = simulate_workload(
        workload,
        Settings(recipe="pgf-stepwise", pattern="2:4", steps=100).on("a100-sxm"),
    ).result
    rows = [(row.name, row.stage, row.op, row.m, row.k, row.n, row.pattern) for row in run.layers]
    assert len(rows) == len(set(rows))
    assert sum(row.macs_done for row in run.layers) == run.total.macs_done
    assert {row.pattern for row in run.layers} == {"dense", "2:4"}


def test_eight_bit_products_are_faster_where_there_are_such_cores(workload: Workload) -> None:
    with pytest.raises(ValueError, match="dtype 'fp8' does not run on a100-sxm"):
        resolve(Settings().on("a100-sxm", dtype="fp8"))
    resolve(Settings().on("h100-sxm", dtype="fp8"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings().on("l4", gpus=0), "gpus is 0; it must be at least 1"),
        (Settings().on("l4", strategy="split"), "strategy is 'split'; allowed: replicated"),
        (Settings().on("l4", constants="no.json"), "constants file no.json"),
    ],
)
def test_what_does_not_fit_is_told(settings: Settings, message: str) -> None:
    with pytest.raises(ValueError, match=message) as told:
        resolve(settings)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("hardware", "options", "message"),
    [
        ("sat-vcu1525", {"gpus": 8}, "gpus 8 is for GPUs, not sat-vcu1525"),
        ("sat-vcu1525", {"dtype": "fp8"}, "dtype 'fp8' is for GPUs, not sat-vcu1525"),
        ("l4", {"memory": "hbm2e"}, "memory 'hbm2e' is for SAT machines, not l4"),
        ("l4", {"without": "overlap"}, "without 'overlap' is for SAT machines, not l4"),
    ],
)
def test_options_of_another_kind_of_machine_are_refused(
    hardware: str, options: MachineOptions, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Settings().on(hardware, **options)


def test_own_constants_find_the_gpu_that_was_measured(
    tmp_path: Path, workload: Workload, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.json"
    run_calibrate(measurements(tmp_path), "h100-sxm", own, copies=6)
    assert "cublas: 84 rows" in capsys.readouterr().out
    products = tmp_path / "products.csv"
    products.write_text("m,n,k\n6000,6000,6000\n", encoding="utf-8")
    out = tmp_path / "out.csv"
    predict_table(products, "h100-sxm", out, str(own))
    time_us = float(out.read_text(encoding="utf-8").splitlines()[1].split(",")[3])
    assert time_us == pytest.approx(6 + 2e6 * 6000**3 / 4e14, rel=0.1)
    settings = Settings().on("h100-sxm")
    shipped = simulate_workload(workload, settings)
    mine = simulate_workload(workload, Settings().on("h100-sxm", constants=str(own)))
    assert mine.time_s != shipped.time_s


def test_constants_are_no_matter_of_sat(tmp_path: Path) -> None:
    products = tmp_path / "products.csv"
    products.write_text("m,n,k\n8,8,8\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"constants 'own.json' is for GPUs, not sat-vcu1525"):
        predict_table(products, "sat-vcu1525", None, "own.json")
