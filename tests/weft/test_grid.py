"""Grids of runs: complete, in order, the same in parallel, and safe to interrupt."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weft.faults import is_users_mistake
from weft.grid import Grid, run_grid
from weft.reports.folder import read_run
from weft.simulation import Settings

GRID = Grid(("mlp", "char-gpt"), ("bdwp", "srste"), ("2:4", "2:8"), ("sat-vcu1525", "h100-sxm"))


def test_every_combination_once_and_dense_once_per_model_and_machine() -> None:
    jobs = GRID.jobs(Settings(), None, None, None)
    kinds = [
        (job.model, job.settings.hardware, job.settings.recipe, job.settings.pattern)
        for job in jobs
    ]
    assert len(kinds) == len(set(kinds)) == 2 * 2 * (1 + 2 * 2)
    assert [kind[2] for kind in kinds].count("dense") == 4


def test_folders_are_safe_and_apart() -> None:
    grid = Grid(
        ("file.py:build/../x",),
        ("srste:decay=1e-4",),
        ('{"a": "2:8"}', '{"b": "2:8"}'),
        ("my machines/a.toml",),
        ("", "ddr4-2400"),
    )
    folders = [job.folder for job in grid.jobs(Settings(), None, None, Path("out"))]
    assert len(set(folders)) == len(folders) == 6
    assert all(folder is not None and folder.parent == Path("out") for folder in folders)


def test_parallel_runs_are_the_serial_ones_in_order(tmp_path: Path) -> None:
    small = Grid(("mlp", "char-gpt"), ("bdwp",), ("2:8",), ("sat-vcu1525",))
    serial = run_grid(small.jobs(Settings(), 8, None, None), workers=1)
    jobs = small.jobs(Settings(), 8, None, tmp_path)
    assert run_grid(jobs, workers=2) == serial
    assert [read_run(job.folder) for job in jobs if job.folder] == serial


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_fails_is_told_and_the_others_stay(tmp_path: Path, workers: int) -> None:
    jobs = Grid(("mlp",), ("bdwp",), ("2:8",), ("sat-vcu1525",)).jobs(Settings(), 8, None, tmp_path)
    settings = dataclasses.replace(jobs[0].settings, skip=("no-such-layer",))
    wrong = dataclasses.replace(jobs[0], settings=settings)
    with pytest.raises(ValueError, match="no-such-layer") as refused:
        run_grid([*jobs, wrong, wrong], workers)
    assert is_users_mistake(refused.value)
    assert read_run(tmp_path / "mlp-dense-sat-vcu1525").model == "mlp"


def test_a_model_that_is_unknown_is_told_before_any_run(tmp_path: Path) -> None:
    jobs = Grid(("mlp",), ("bdwp",), ("2:8",), ("sat-vcu1525",)).jobs(Settings(), 8, None, tmp_path)
    with pytest.raises(ValueError, match="no-such-model"):
        run_grid([*jobs, dataclasses.replace(jobs[0], model="no-such-model")], workers=2)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_is_killed_is_told(tmp_path: Path) -> None:
    (tmp_path / "fatal.py").write_text("import os\ndef m(): os._exit(9)\n")
    grid = Grid((f"{tmp_path / 'fatal.py'}:m",), ("bdwp",), ("2:8",), ("sat-vcu1525",))
    with pytest.raises(OSError, match="worker process was killed"):
        run_grid([*grid.jobs(Settings(), None, None, None)] * 2, workers=2)


def test_an_interruption_keeps_what_is_done(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef m(): time.sleep(300)\n")
    command = [sys.executable, "-m", "weft", "compare", "mlp", f"{tmp_path / 'slow.py'}:m"]
    command += ["--jobs", "2", "--recipe", "bdwp", "srste", "--pattern", "2:8"]
    command += ["--out", str(tmp_path / "grid")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    done = tmp_path / "grid" / "mlp-dense-sat-vcu1525" / "run.json"
    deadline = time.monotonic() + 120
    while not done.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert told.splitlines()[-1].startswith("weft: interrupted")
    assert "merges them" in told
    assert read_run(done.parent).recipe == "dense"
    assert len(list((tmp_path / "grid").glob("*/run.json"))) < 6  # the rest was not waited for
    assert not [path for path in (tmp_path / "grid").iterdir() if path.name.startswith(".")]


def children_of(process: int) -> list[int]:
    """Processes that it started and that still run; Linux tells."""
    return [
        int(child)
        for task in Path(f"/proc/{process}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("models", [("mlp", "gpt2-xl"), ("slow.py:m",)])
def test_a_client_killed_at_once_leaves_no_process_and_no_half_file(
    tmp_path: Path, models: tuple[str, ...]
) -> None:
    """Also where the workers are deep in a user's code, which gets a moment and no more."""
    (tmp_path / "slow.py").write_text(
        "import time\nfrom pathlib import Path\n"
        "def m():\n Path('started').touch()\n time.sleep(600)\n"
    )
    command = [sys.executable, "-m", "weft", "compare", *models, "--jobs", "2"]
    command += ["--recipe", "bdwp", "srste", "--pattern", "2:8", "--out", "grid"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    done = tmp_path / "grid" / "mlp-dense-sat-vcu1525" / "run.json"
    deadline = time.monotonic() + 120
    while not (done.exists() or (tmp_path / "started").exists()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = children_of(process.pid)
    assert len(children) >= 2  # else the test shows nothing
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    try:
        while any(map(is_alive, children)):
            assert time.monotonic() < deadline, "workers outlive a client that was killed"
            time.sleep(0.1)
    finally:
        for child in filter(is_alive, children):
            os.kill(child, signal.SIGKILL)
    runs = list((tmp_path / "grid").glob("*")) if (tmp_path / "grid").exists() else []
    assert not [run for run in runs if run.name.startswith(".")]
    assert all(read_run(run).model for run in runs)
