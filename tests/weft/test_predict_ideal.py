"""``weft predict --hardware systolic-ideal``: the peers' cycle counts from the command line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from weft.cli.hardware import show_hardware
from weft.cli.predict import predict_table
from weft.sim.ideal import IDEAL, IdealArray, IdealDataflow, ideal_cycles
from weft.simulation import Settings, resolve


def cycles(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[int]:
    path = folder / "products.csv"
    path.write_text(text)
    predict_table(path, IDEAL, None)
    return [int(row["cycles"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]


def test_the_array_is_32x32_output_stationary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = cycles("m,n,k\n100,70,50\n", tmp_path, capsys)
    assert found == [ideal_cycles(IdealArray(32, 32, IdealDataflow.OS), 100, 50, 70)]


def test_columns_set_the_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = "m,n,k,batch,rows,cols,dataflow\n9,8,7,3,4,2,ws\n9,8,7,1,,,is\n"
    assert cycles(table, tmp_path, capsys) == [
        ideal_cycles(IdealArray(4, 2, IdealDataflow.WS), 9, 7, 8, batch=3),
        ideal_cycles(IdealArray(32, 32, IdealDataflow.IS), 9, 7, 8),
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("m,n,k,dataflow\n1,2,3,os\n1,2,3,rs\n", "line 3: dataflow is 'rs'; allowed: os, ws"),
        ("m,n,k,rows\n1,2,3,-4\n", "line 2: rows is '-4'; it must be 1 to"),
        ("m,n,k,sparsity\n1,2,3,4:2\n", "line 2: sparsity 4:2 is not possible"),
    ],
)
def test_a_wrong_row_is_named_by_line(
    table: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=message):
        cycles(table, tmp_path, capsys)


def test_it_is_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_hardware(None)
    assert IDEAL in capsys.readouterr().out
    show_hardware(IDEAL)
    assert 'dataflow = "os"' in capsys.readouterr().out


def test_whole_steps_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(ValueError, match=r"weft predict PRODUCTS.csv --hardware systolic-ideal"):
        resolve(Settings().on(IDEAL))
