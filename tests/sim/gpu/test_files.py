"""Product tables in files, and constants fitted from a user's own measurements."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from weft.sim.gpu.fitting.calibrate import calibrate
from weft.sim.gpu.prediction.constants import read_constants
from weft.sim.gpu.prediction.predict import ProductTable, predict, predict_file


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_gains_time_and_watts(tmp_path: Path) -> None:
    source = write(tmp_path / "p.csv", "name,m,n,k,dtype\na,4096,4096,4096,bfloat16\nb,1,64,64,\n")
    result = predict_file(source, "h100-sxm", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert float(rows[0]["time_us"]) == pytest.approx(result.time_us[0], abs=1e-3)
    assert float(rows[1]["watts"]) == pytest.approx(result.watts[1], abs=0.1)


def test_a_file_with_sparse_rows_compares_like_with_like(tmp_path: Path) -> None:
    text = "m,n,k,sparsity\n4096,4096,4096,dense\n4096,4096,4096,2:4\n"
    result = predict_file(write(tmp_path / "p.csv", text), "b200-sxm", tmp_path / "out.csv")
    table = ProductTable.of([4096], [4096], [4096])
    dense = predict(table, "b200-sxm", dense_library="cublaslt").time_us[0]
    assert result.time_us[0] == dense


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m,n\n1,2\n", "lacks column 'k'"),
        ("m,n,k\n1,2,x\n", "line 2: k is 'x'; it must be a whole number"),
        ("m,n,k\n1,2,0\n", "row 1: k is 0; it must be a whole number, 1 to"),
        ("m,n,k,dtype\n1,2,3,fp4\n", "dtype is 'fp4'; it must be one of fp16"),
        ("m,n,k,sparsity\n1,2,3,half\n", "pattern 'half' is not N:M"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict_file(write(tmp_path / "p.csv", text), "h100-sxm", tmp_path / "out.csv")


def test_calibrate_finds_the_machine_that_made_the_table(tmp_path: Path) -> None:
    """Times of one GPU's model, fitted from general starts, are predicted within the noise."""
    rng = np.random.default_rng(0)
    sizes = 2 ** rng.uniform(5, 13, (3, 300))
    table = ProductTable.of(*sizes.round())
    times = predict(table, "h200-sxm").time_us
    lines = [f"{m:.0f},{n:.0f},{k:.0f},{t:.4f}" for m, n, k, t in zip(*sizes, times, strict=True)]
    source = write(tmp_path / "measured.csv", "\n".join(["m,n,k,time_us", *lines]))
    (fitted,) = calibrate(source, "h200-sxm", out=tmp_path / "constants.json")
    assert float(fitted.provenance["training_mape_percent"]) < 1.5
    read = read_constants(tmp_path / "constants.json")
    again = predict(table, "h200-sxm", constants=read).time_us
    assert np.abs(again / times - 1).mean() < 0.015


def test_calibrate_names_bad_times_and_short_tables(tmp_path: Path) -> None:
    bad = write(tmp_path / "a.csv", "m,n,k,time_us\n1,2,3,-1\n")
    with pytest.raises(ValueError, match="line 2: time_us is '-1'; it must be a positive number"):
        calibrate(bad, "h100-sxm")
    short = write(tmp_path / "b.csv", "m,n,k,time_us\n1,2,3,5\n")
    with pytest.raises(ValueError, match=r"1 rows cannot fit 16 constants; at least 16"):
        calibrate(short, "h100-sxm")
