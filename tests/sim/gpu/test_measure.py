"""The measuring script, as far as it goes without a GPU: a stand-in plays CUDA on the CPU."""

from __future__ import annotations

import contextlib
import csv
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from weft import measure
from weft.measure import COLUMNS, Settings, Shape, default_shapes, measure_command, rotations
from weft.sim.gpu.fitting.calibrate import calibrate


def test_there_are_enough_shapes() -> None:
    shapes = default_shapes()
    dense = {(s.m, s.n, s.k) for s in shapes if s.sparsity == "dense"}
    assert len(dense) >= 600
    assert len(set(shapes)) == len(shapes)
    assert {s.dtype for s in shapes} == {"bf16", "fp16"}
    assert all(s.n % 64 == s.k % 64 == s.m % 8 == 0 for s in shapes if s.sparsity == "2:4")


def test_weights_take_turns_only_where_they_fit() -> None:
    shape = Shape(1024, 4096, 4096, "bf16", "dense")
    assert rotations(shape, 6, 10**11) == 6
    assert rotations(shape, 6, 2 * (3 * 2 * 4096**2 + 2 * 1024 * 8192)) == 3
    assert rotations(shape, 6, 1000) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_one_clear_line_and_status_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure_command(tmp_path / "m.csv") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("weft measure: needs an NVIDIA GPU and torch with CUDA")
    assert not (tmp_path / "m.csv").exists()


class FakeEvent:
    clock = 0.0

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self) -> None:
        FakeEvent.clock += 0.6
        self.at = FakeEvent.clock

    def synchronize(self) -> None: ...

    def elapsed_time(self, end: FakeEvent) -> float:
        return end.at - self.at


class FakeGraph:
    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1


def fake_torch() -> Any:
    """Real torch on the CPU under a CUDA that records nothing and ticks 0.6 ms per event."""

    def on_cpu(make: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *sizes, device=None, **more: make(*sizes, **more)

    @contextlib.contextmanager
    def nothing(*_: object) -> Iterator[None]:
        yield

    stream = types.SimpleNamespace(wait_stream=lambda other: None)
    cuda = types.SimpleNamespace(
        Event=FakeEvent,
        CUDAGraph=FakeGraph,
        Stream=lambda: stream,
        current_stream=lambda: stream,
        stream=nothing,
        graph=nothing,
        is_available=lambda: True,
        mem_get_info=lambda: (10**11, 10**11),
        empty_cache=lambda: None,
        synchronize=lambda: None,
        get_device_name=lambda: "stand-in",
        current_device=lambda: 0,
        get_device_properties=lambda index: types.SimpleNamespace(uuid="0"),
    )
    fake = types.SimpleNamespace(**{name: getattr(torch, name) for name in dir(torch)})
    fake.randn, fake.tensor, fake.cuda = on_cpu(torch.randn), on_cpu(torch.tensor), cuda
    fake.version = types.SimpleNamespace(cuda="0.0")
    return fake


def test_the_table_is_one_that_calibrate_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = [
        Shape(m, n, 64, "bf16", "dense") for m in (1, 8, 64, 512) for n in (64, 128, 256, 512)
    ]
    shapes.append(Shape(64, 64, 64, "bf16", "2:4"))
    monkeypatch.setattr(measure, "_torch", fake_torch)
    monkeypatch.setattr(measure, "default_shapes", lambda: shapes)
    out = tmp_path / "m.csv"
    assert measure_command(out, Settings(steps=False, replays=3, power_s=0.0)) == 0
    told = capsys.readouterr().err
    assert "left out Shape(m=64, n=64, k=64, dtype='bf16', sparsity='2:4')" in told
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 16
    assert {float(row["time_us"]) for row in rows} == {100.0}
    (fitted,) = calibrate(out, "h100-sxm")
    assert fitted.provenance["rows"] == 16


def test_a_refused_step_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no kernel for this\nsecond line")

    monkeypatch.setattr(measure, "_torch", fake_torch)
    monkeypatch.setattr(measure, "default_shapes", list)
    monkeypatch.setattr(measure, "_step", refuse)
    assert measure_command(tmp_path / "m.csv", Settings(models=("gpt2",), power_s=0.0)) == 0
    assert "left out gpt2 2:4: no kernel for this" in capsys.readouterr().err
