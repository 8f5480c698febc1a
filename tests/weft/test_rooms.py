"""The house: each room says what it is for, its smallest example runs, and there are no circles."""

from __future__ import annotations

import doctest
import subprocess
from itertools import pairwise
from pathlib import Path

import grimp
import networkx as nx
import pytest

ROOT = Path(__file__).parents[2]
ROOMS = sorted(
    path.parent.relative_to(ROOT)
    for top in ("benchmarks", "mapper", "models", "reports", "rtl", "sim", "src/weft")
    for path in (ROOT / top).rglob("__init__.py")
    if not path.parent.is_symlink()
)
WITHOUT_A_README = {
    *("models/recipes", "models/sparse", "models/training", "models/zoo"),  # models/README.md
    *("sim/gpu/prediction", "sim/gpu/fitting", "sim/gpu/published"),  # sim/gpu/README.md
    *("sim/lanes/programs", "rtl/cosimulation/bench", "src/weft/cli"),  # that of the room around
}
LINES = 400
ONE_SUBJECT = {
    "src/weft/simulation.py": "the public way from a model to a run",
    "mapper/placement/place.py": "the addresses of one step, tensor by tensor",
    "models/training/run.py": "one run: start, steps, checkpoints, resuming",
    "rtl/cosimulation/assemble.py": "the instruction word of every queue",
    "rtl/cosimulation/product.py": "one tiled product with its operands and what they must give",
    "rtl/inspection/structure.py": "one reading of Verilog as a tree of modules",
    "sim/gpu/prediction/step.py": "one step on a GPU, kernel by kernel",
    "sim/gpu/published/shapes.py": "networks as they were published, written down",
    "sim/lanes/programs/elementwise.py": "a table of formulas",
}
"""Files that are longer, each with the one subject that needs it."""


def readmes() -> list[Path]:
    return [ROOT / room / "README.md" for room in ROOMS if str(room) not in WITHOUT_A_README]


@pytest.mark.parametrize("path", readmes(), ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_each_room_tells_its_use_in_a_screen_and_its_example_runs(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.split("\n\n    >>>")[0].splitlines()) <= 12
    found = doctest.testfile(str(path), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert found.failed == 0
    inner = any(room.parent == path.parent.relative_to(ROOT) for room in ROOMS)
    assert found.attempted or inner, "a room without rooms in it shows an example"


def arrows(depth: int) -> nx.DiGraph:
    """Who imports whom, modules folded to packages of that depth below weft."""
    graph = grimp.build_graph("weft", exclude_type_checking_imports=True)
    folded: nx.DiGraph = nx.DiGraph()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            ends = (".".join(name.split(".")[: depth + 1]) for name in (module, imported))
            source, target = ends
            if source != target:
                folded.add_edge(source, target)
    return folded


@pytest.mark.parametrize("depth", [1, 2, 9], ids=["top", "rooms", "modules"])
def test_no_circles(depth: int) -> None:
    circles = [
        sorted(part) for part in nx.strongly_connected_components(arrows(depth)) if len(part) > 1
    ]
    assert circles == []


def test_arrows_are_seen() -> None:
    """The check above sees what it should: the way of a step is a path of arrows."""
    graph = arrows(2)
    way = ["mapper.pricing", "mapper.planning", "mapper.scheduling", "sim.engine", "sim.program"]
    for user, used in pairwise(f"weft.{room}" for room in way):
        assert graph.has_edge(user, used)


def test_files_have_one_subject() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    long = {
        name: lines
        for name in listed.stdout.split()
        if not name.startswith("tests/")
        and (ROOT / name).is_file()
        and (lines := len((ROOT / name).read_text(encoding="utf-8").splitlines())) > LINES
    }
    assert set(long) <= set(ONE_SUBJECT), long
