"""The project itself: links, lint, types, who imports whom, and what starting costs."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weft.cli import COMMANDS

ROOT = Path(__file__).parents[2]
ROOMS = ("sim", "rtl", "mapper", "models", "reports")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_is_linked_into_the_package(room: str) -> None:
    link = ROOT / "src" / "weft" / room
    assert link.is_symlink(), "a lost link builds a wheel without the room, and without an error"
    assert link.resolve() == ROOT / room


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def test_ruff_finds_nothing() -> None:
    result = run(tool("ruff"), "check", ".")
    assert result.returncode == 0, result.stdout


def test_everything_is_formatted() -> None:
    result = run(tool("ruff"), "format", "--check", ".")
    assert result.returncode == 0, result.stdout


def test_types_hold_strictly_in_sim() -> None:
    result = run(tool("pyright"))
    assert result.returncode == 0, result.stdout


def test_rooms_import_only_whom_they_may() -> None:
    result = run(tool("lint-imports"))
    assert result.returncode == 0, result.stdout


HEAVY = ("torch", "numpy", "scipy", "networkx", "plotly", "pyarrow", "pydantic", "pandas")


def imported_by(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sorted(sys.modules))"
    result = run(sys.executable, "-c", script)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.parametrize(
    "code",
    ["import weft", "import weft.cli", "import weft.models.zoo, weft.models.recipes"],
)
def test_starting_imports_nothing_heavy(code: str) -> None:
    assert imported_by(code).isdisjoint(HEAVY)


def test_reading_a_run_needs_no_torch() -> None:
    assert "torch" not in imported_by("import weft.reports.folder, weft.reports.terminal")


def test_help_is_quick() -> None:
    """Half a second of this process's own work; the best of three, as the machine is shared."""
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        assert run(sys.executable, "-m", "weft", "--help").returncode == 0
        times.append(time.perf_counter() - start)
    assert min(times) < 0.5


def test_the_help_of_every_subcommand_begins_with_its_line() -> None:
    for name, line in COMMANDS.items():
        help_text = importlib.import_module(f"weft.cli.{name}").app.registered_commands[0]
        told = " ".join((help_text.callback.__doc__ or "").split())
        assert told.startswith(line.rstrip(".")), name
