"""A user's own file: its siblings, its prints, and how it may end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from weft.cli import main

NET = """
from __future__ import annotations
import dataclasses, os, sys
import torch
from utilities import width
print("imported")
os.system("echo from a child process")
@dataclasses.dataclass
class Sizes:
    n: int = 3
class Talks(torch.nn.Linear):
    def forward(self, x):
        print("forward")
        return super().forward(x)
def build():
    from late import outputs
    print("building")
    return Talks(width, outputs), (torch.zeros(8, width),)
def pruned():
    model, inputs = build()
    model.weight.data[:, ::2] = 0
    return model, inputs
def leaves():
    sys.exit("bye")
def leaves_in_forward():
    class Leaves(torch.nn.Linear):
        def forward(self, x):
            sys.exit(3)
    return Leaves(4, 4), (torch.zeros(8, 4),)
def breaks():
    raise KeyError("x")
"""


def project(folder: Path, width: int) -> Path:
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "utilities.py").write_text(f"width = {width}\n")
    (folder / "late.py").write_text("outputs = 16\n")
    return folder / "net.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["weft", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    "arguments", [("build",), ("pruned", "--recipe", "from-weights")], ids=["fake", "real"]
)
def test_prints_leave_json_alone_and_siblings_are_found(
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    net = project(tmp_path / "one", 32)
    name, *rest = arguments
    path = list(sys.path)
    assert run(monkeypatch, "simulate", f"{net}:{name}", *rest, "--json", "-") == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["layers"][0]["k"] == 32
    for word in ("imported", "from a child process", "building", "forward"):
        assert word in err
    assert sys.path == path


def test_siblings_of_the_same_name_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    models = [f"{project(tmp_path / str(width), width)}:build" for width in (32, 64)]
    assert run(monkeypatch, "compare", *models, "--jobs", "1", "--json", "-") == 0
    results = json.loads(capfd.readouterr().out)
    assert [result["layers"][0]["k"] for result in results] == [32, 64]


@pytest.mark.parametrize("command", [["simulate"], ["compare", "--jobs", "1"], ["ablate"]])
@pytest.mark.parametrize(
    ("name", "said"), [("leaves", "sys.exit('bye')"), ("leaves_in_forward", "sys.exit(3)")]
)
def test_sys_exit_is_one_line(
    command: list[str],
    name: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    net = project(tmp_path / "one", 32)
    assert run(monkeypatch, *command, f"{net}:{name}") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err


def test_what_a_builder_raises_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    net = project(tmp_path / "one", 32)
    for rest in ([], ["--recipe", "from-weights"]):
        assert run(monkeypatch, "simulate", f"{net}:breaks", *rest) == 2
        assert "KeyError: 'x'" in capfd.readouterr().err.splitlines()[-1]
