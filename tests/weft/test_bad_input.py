"""A user's mistake is one line that names what is wrong and what is allowed, and exit status 2."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weft.sim.machine import machine_text

MODEL = """
import torch
def build():
    return torch.nn.Linear(64, 64), (torch.empty(8, 64),)
def wrong_shape():
    return torch.nn.Linear(64, 64), (torch.empty(8, 65),)
class Silent(torch.nn.Module):
    def forward(self, x):
        return "no tensor"
def silent():
    return Silent(), (torch.empty(8, 64),)
number = 3
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text(MODEL)
    return str(path)


def weft(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "weft", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("weft: ")
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulate", "resnet5"], ["unknown model 'resnet5'", "nearest: resnet50"]),
        (["simulate", "resnet50", "--recipe", "bdpw"], ["unknown recipe 'bdpw'", "bdwp"]),
        (["simulate", "resnet50", "--hardware", "sat-vcu"], ["unknown machine", "sat-vcu1525"]),
        (["simulate", "resnet50", "--hardware", "no.toml"], ["machine file no.toml"]),
        (["simulate", "resnet50", "--recipe", "bdwp"], ["needs --pattern N:M"]),
        (["simulate", "resnet50", "--batch", "0"], ["--batch is 0", "at least 1"]),
        (["simulate", "resnet50", "--batch", "-3"], ["--batch is -3", "at least 1"]),
        (["simulate", "resnet50", "--batch", "many"], ["--batch", "integer"]),
        (["simulate", "resnet50", "--input", "3,x"], ["--input is '3,x'", "C,H,W or T"]),
        (["simulate", "resnet50", "--input", "1024"], ["does not fit resnet50", "C,H,W"]),
        (["simulate", "resnet50", "--steps", "0"], ["steps is 0"]),
        (["simulate", "resnet50", "--without", "luck"], ["unknown feature 'luck'"]),
        (["simulate", "no.such.module:f"], ["module 'no.such.module' cannot be imported"]),
        (["simulate", "missing.py:f"], ["file missing.py does not exist"]),
        (["frobnicate"], ["frobnicate"]),
        (["simulate"], ["Missing argument"]),
        (["hardware", "nope"], ["unknown machine 'nope'"]),
        (["report", "no-such-folder"], ["no-such-folder is no run folder"]),
        (["predict", "no.csv"], ["cannot read no.csv"]),
    ],
)
def test_wrong_arguments(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    refused(weft(*arguments, cwd=tmp_path), *words)


@pytest.mark.parametrize("pattern", ["8:2", "0:4", "2:0", "2:32", "2-8", "x"])
def test_impossible_patterns(pattern: str, model: str) -> None:
    result = weft("simulate", f"{model}:build", "--recipe", "bdwp", "--pattern", pattern)
    refused(result, f"pattern {pattern}" if ":" in pattern else repr(pattern), "N:M")


@pytest.mark.parametrize(
    ("callable_", "words"),
    [
        ("biuld", ["no callable 'biuld'", "nearest: build"]),
        ("number", ["no callable 'number'"]),
        ("wrong_shape", ["shape"]),
        ("silent", ["no", "loss"]),
    ],
)
def test_models_that_cannot_be_traced(callable_: str, words: list[str], model: str) -> None:
    refused(weft("simulate", f"{model}:{callable_}"), *words)


def test_batch_of_a_users_own_model_is_refused(model: str) -> None:
    refused(weft("simulate", f"{model}:build", "--batch", "8"), "brings its own inputs")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("rows = 32", 'rows = "many"', ["array.rows", "'many'"]),
        ("rows = 32", "rows = 0", ["array.rows = 0", "greater than or equal to 1"]),
        ("lanes = 32", "lanes = 32\ncolour = 1", ["unknown key sore.colour"]),
        (
            "read_bytes_per_cycle = 256",
            "read_bytes_per_cycle = 0",
            ["memory.read_bytes_per_cycle = 0"],
        ),
        ("left_bytes = 1048576", "left_bytes = -1", ["buffers.left_bytes = -1"]),
        ("left_bytes = 1048576", "left_bytes = 64", ["not one tile", "left_bytes"]),
        ("interleave = 4", "interleave = 2", ["interleave 2 is below adder_stages 4"]),
        ("clock_hz = 200e6", "", ["clock_hz is missing"]),
        ("[sore]", "[sore", ["not TOML"]),
    ],
)
def test_machine_files(old: str, new: str, words: list[str], model: str, tmp_path: Path) -> None:
    text = machine_text("sat-vcu1525")
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    result = weft("simulate", f"{model}:build", "--hardware", str(tmp_path / "mine.toml"))
    refused(result, *words)


@pytest.mark.parametrize("place", ["/proc/run", "/sys/run"])
def test_unwritable_folder(place: str, model: str) -> None:
    if not Path(place).parent.is_dir():
        pytest.skip(f"this system has no {Path(place).parent}")
    result = weft("simulate", f"{model}:build", "--out", place)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert place in result.stderr
    assert not Path(place).exists()


def test_out_that_is_a_file(model: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    refused(weft("simulate", f"{model}:build", "--out", str(tmp_path / "taken")), "is a file")


def test_json_to_a_full_device(model: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    refused(weft("simulate", f"{model}:build", "--json", "/dev/full"), "cannot write /dev/full")


def test_json_on_a_full_stdout(model: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "weft", "simulate", f"{model}:build", "--json", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "cannot write standard output" in result.stderr


def test_json_into_a_missing_folder_leaves_nothing(model: str, tmp_path: Path) -> None:
    target = tmp_path / "no" / "run.json"
    refused(weft("simulate", f"{model}:build", "--json", str(target)), "cannot write")
    assert not target.parent.exists()


def test_interrupt_leaves_nothing_half_written(model: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import pathlib, time\n"
        "def build():\n"
        f"    pathlib.Path({str(tmp_path / 'began')!r}).touch()\n"
        "    time.sleep(300)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "weft", "simulate", f"{slow}:build", "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "began").exists():  # an interrupt during an import may be swallowed
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert "interrupted" in errors
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".run")] == []


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("m,n\n1,2\n", ["lacks column 'k'"]),
        ("m,n,k\n1,2,three\n", ["line 2: k is 'three'"]),
        ("m,n,k\n1,2,3\n4,0,6\n", ["line 3: n is '0'"]),
        ("m,n,k,sparsity\n8,8,8,4:2\n", ["pattern 4:2"]),
    ],
)
def test_product_tables(table: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text(table)
    refused(weft("predict", str(path)), *words)
