"""Exported programs cost what the modules cost that they were exported from."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from weft.cli import main
from weft.mapper.sparsity.pruned import LayerPattern, layer_patterns
from weft.models.imported.exported import ExportedError, load_exported
from weft.models.zoo import build
from weft.sim.workload import Workload
from weft.simulation import trace_workload


def save(model: nn.Module, inputs: tuple[Any, ...], path: Path, **options: Any) -> Path:
    torch.export.save(torch.export.export(model, inputs, **options), path)
    return path


def products(workload: Workload) -> list[tuple[Any, ...]]:
    return [(p.name, p.stage, p.m, p.k, p.n, p.batch) for p in workload.products]


class Mixed(nn.Module):
    """Grouped, transposed and shared weights, attention, a dictionary in and a tuple out."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(16, 32, 3, groups=4)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.shared = nn.Linear(16, 16)
        self.free = nn.Parameter(torch.ones(16, 8))

    def forward(self, x: torch.Tensor, more: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        y = self.up(self.grouped(x)).flatten(2).transpose(1, 2)
        y = self.shared(self.shared(self.attention(y, y, y)[0])) + more["bias"]
        return y @ self.free, y


def rows(model: nn.Module) -> dict[tuple[str, str], LayerPattern]:
    return {(r.parameter, r.axis): r for r in layer_patterns(model) if r.parameter != "free"}


@pytest.mark.parametrize("keywords", [("more",), ("x", "more")])
def test_keyword_arguments(keywords: tuple[str, ...], tmp_path: Path) -> None:
    every = {"x": torch.zeros(2, 16, 6, 6), "more": {"bias": torch.zeros(16)}}
    named = {name: every[name] for name in keywords}
    inputs = tuple(value for name, value in every.items() if name not in keywords)
    loaded, given = load_exported(save(Mixed(), inputs, tmp_path / "m.pt2", kwargs=named))
    found = products(trace_workload(loaded, given, name="m"))
    assert found == products(trace_workload(Mixed(), tuple(every.values()), name="m"))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet9", "vit-cifar100", "char-gpt"])
def test_zoo_models(name: str, training: bool, tmp_path: Path) -> None:
    model, inputs, loss_fn = build(name, batch=2)
    model.train(training)
    path = save(model, (inputs,), tmp_path / "m.pt2")
    loaded, given = load_exported(path)
    expected = trace_workload(model, inputs, loss_fn)
    found = trace_workload(loaded, given, loss_fn)
    assert products(found) == products(expected)
    assert loaded.state_dict().keys() >= dict(model.named_parameters()).keys()


def test_layers_of_every_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Mixed()
    with torch.no_grad():
        for weight in (model.grouped.weight, model.up.weight):
            weight[:, ::2] = 0
        model.up.weight[1::4] = 0
        model.shared.weight[:, 4:] = 0
    inputs = (torch.zeros(2, 16, 6, 6), {"bias": torch.zeros(16)})
    loaded, given = load_exported(save(model, inputs, tmp_path / "m.pt2"))
    found = trace_workload(loaded, given, name="m")
    assert products(found) == products(trace_workload(model, inputs, name="m"))
    assert rows(loaded) == rows(model)


def test_a_free_batch_can_be_chosen(tmp_path: Path) -> None:
    model, inputs = nn.Linear(8, 4), (torch.zeros(3, 8),)
    free = save(model, inputs, tmp_path / "free.pt2", dynamic_shapes=({0: torch.export.Dim.AUTO},))
    fixed = save(model, inputs, tmp_path / "fixed.pt2")
    assert load_exported(free)[1][0].shape == (3, 8)
    assert load_exported(free, batch=64)[1][0].shape == (64, 8)
    with pytest.raises(ExportedError, match="exported for 3"):
        load_exported(fixed, batch=64)


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(save(nn.Linear(64, 64), (torch.zeros(8, 64),), tmp_path / "own.pt2"))
    with zipfile.ZipFile(tmp_path / "code.pt2", "w") as archive:
        archive.writestr("code/data/aotinductor/model/model.so", b"")
    with zipfile.ZipFile(tmp_path / "pickle.pt2", "w") as archive:
        part = '{"config": {"w": {"path_name": "opaque_0", "use_pickle": true}}}'
        archive.writestr("pickle/data/constants/model_constants_config.json", part)
    (tmp_path / "noise.pt2").write_bytes(b"noise")
    cases = {
        (path,): "",
        (path, "--batch", "4"): "exported for 8",
        (path, "--batch", "0"): "--batch is 0",
        (path, "--input", "3,4,5"): "--input is for zoo models",
        (str(tmp_path / "none.pt2"),): "does not exist",
        (str(tmp_path / "noise.pt2"),): "no exported program",
        (str(tmp_path / "code.pt2"),): "compiled code",
        (str(tmp_path / "pickle.pt2"),): "'w' is pickled",
    }
    for arguments, word in cases.items():
        monkeypatch.setattr(sys, "argv", ["weft", "simulate", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert ended.value.code == (2 if word else 0), err
        assert word in err
        assert err.count("\n") == bool(word)
        assert bool(out) != bool(word)
