"""A run folder is whole or not there, and what is read back is what was written."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reports.runs import RUNS, big_run
from weft.reports import folder as folder_module
from weft.reports.folder import FILES, ReportError, read_layers, read_run, write_run
from weft.reports.writing import write_text_atomically
from weft.sim.results import RunResult

FEW = settings(deadline=None, max_examples=40)


def written(run: RunResult, place: Path) -> Path:
    write_run(place, run, html=False)
    return place


@FEW
@given(run=RUNS)
def test_what_is_written_is_read_back(run: RunResult) -> None:
    with tempfile.TemporaryDirectory() as place:
        target = written(run, Path(place) / "run")
        assert read_run(target) == run
        rows = json.loads((target / "run.json").read_text(encoding="utf-8"))["layers"]
        assert read_layers(target).to_pylist() == rows


def test_counts_beyond_64_bits_stay_exact(tmp_path: Path) -> None:
    run = big_run(2, 0)
    huge = tuple(dataclasses.replace(layer, macs_dense=10**21 + 1) for layer in run.layers)
    target = written(dataclasses.replace(run, layers=huge), tmp_path / "run")
    assert [int(row["macs_dense"]) for row in read_layers(target).to_pylist()] == [10**21 + 1] * 2


def test_a_second_run_replaces_the_first_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "run"
    write_run(target, big_run(3, 3), html=False)
    (target / "report.html").write_text("old")
    (target / "mine.txt").write_text("mine")
    written(big_run(4, 4), target)
    assert read_run(target) == big_run(4, 4)
    assert sorted(path.name for path in target.iterdir()) == [
        "layers.parquet",
        "mine.txt",
        "run.json",
        "trace.perfetto.json",
    ]


def test_everything_is_there_with_usual_permissions(tmp_path: Path) -> None:
    write_run(tmp_path / "run", big_run(3, 3))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(FILES)
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "run").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_failure_in_any_file_leaves_nothing(
    name: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails while ``name`` is being written, with part of it on the disk."""
    writers = folder_module._writers

    def failing(*arguments: Any, **more: Any) -> dict[str, Any]:
        def fail(path: Path) -> None:
            path.write_text("half")
            raise error

        return writers(*arguments, **more) | {name: fail}

    monkeypatch.setattr(folder_module, "_writers", failing)
    with pytest.raises((ReportError, KeyboardInterrupt)) as caught:
        write_run(tmp_path / "deep" / "run", big_run(2, 2))
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert str(caught.value) == f"cannot write {tmp_path}/deep/run: No space left on device"


def test_a_failure_keeps_the_earlier_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = written(big_run(2, 2), tmp_path / "run")
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_module, "_write_json", full)
    with pytest.raises(ReportError, match="No space left"):
        written(big_run(3, 3), target)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ReportError, match=r"taken: it is a file; a folder is needed"):
        written(big_run(1, 1), tmp_path / "taken")


def test_a_read_only_place(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(ReportError, match="Permission denied"):
        written(big_run(1, 1), tmp_path / "run")


def test_a_place_that_nobody_can_write() -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("this system has no /proc")
    with pytest.raises(ReportError, match=r"cannot write /proc/run: "):
        written(big_run(1, 1), Path("/proc/run"))


def test_text_to_a_full_device() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(ReportError, match=r"cannot write /dev/full: No space left on device"):
        write_text_atomically(Path("/dev/full"), "x" * 100_000)
    assert not Path("/dev/full").is_file()


@given(text=st.text(st.characters()))
def test_any_text_can_be_written(text: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "file"
        write_text_atomically(path, text)
        assert path.read_bytes() == text.encode("utf-8", "backslashreplace")


def one_line(message: str, *words: str) -> None:
    assert "\n" not in message
    for word in words:
        assert word in message


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ReportError) as caught:
        read_run(tmp_path / "none")
    one_line(str(caught.value), "none is no run folder: it does not exist")


def test_not_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"no run folder: it has no run\.json"):
        read_run(tmp_path)


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ReportError, match=r"run\.json is no run folder: it is a file"):
        read_run(tmp_path / "run.json")


@pytest.fixture(scope="module")
def whole() -> bytes:
    return json.dumps(big_run(2, 2).to_json()).encode()


@settings(deadline=None, max_examples=60)
@given(end=st.floats(0, 1, exclude_max=True))
def test_truncated_json(end: float, whole: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "run.json").write_bytes(whole[: int(end * len(whole))])
        with pytest.raises(ReportError) as caught:
            read_run(Path(place))
        one_line(str(caught.value), f"cannot read {place}/run.json", "truncated")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "weft-run/0"}, ["weft-run/0", "weft-run/1"]),
        ({"schema": None}, ["None", "weft-run/1"]),
        ({"total": 3}, ["damaged"]),
        ({"layers": {"a": 1}}, ["damaged"]),
        ({"layers": [{"name": "x"}]}, ["damaged"]),
        ({"batch": "many"}, ["batch is 'many'; it must be a whole number"]),
        ({"batch": True}, ["batch is True"]),
        ({"notes": [3]}, ["notes[0] is 3; it must be text"]),
        ({"model": "\ud800"}, ["model is"]),
        ({"energy_by_component_j": {"dram_j": "much"}}, ["energy_by_component_j.dram_j is 'much'"]),
        ({"energy_by_component_j": {"dram_j": float("nan")}}, ["NaN is no number"]),
        ({"machine": []}, ["machine is []; it must be an object"]),
        ({"colour": "red"}, ["damaged", "colour"]),
    ],
)
def test_json_that_is_no_run(
    change: dict[str, Any], words: list[str], whole: bytes, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text(json.dumps(json.loads(whole) | change))
    with pytest.raises(ReportError) as caught:
        read_run(tmp_path)
    one_line(str(caught.value), f"{tmp_path}/run.json", *words)


@pytest.mark.parametrize("content", [b"[]", b"3", b"\xff\xfe", b"[" * 100_000])
def test_files_that_are_something_else(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ReportError) as caught:
        read_run(tmp_path)
    one_line(str(caught.value), f"{tmp_path}/run.json")


def test_a_missing_or_damaged_table(tmp_path: Path) -> None:
    target = written(big_run(2, 2), tmp_path / "run")
    (target / "layers.parquet").write_bytes(b"PAR1")
    with pytest.raises(ReportError) as caught:
        read_layers(target)
    one_line(str(caught.value), "layers.parquet", "damaged")
    (target / "layers.parquet").unlink()
    with pytest.raises(ReportError, match=r"layers\.parquet: it is missing"):
        read_layers(target)
    assert read_run(target) == big_run(2, 2)
