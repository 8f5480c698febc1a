"""Weights from files: the same patterns as the module that they were saved from."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from weft.mapper.sparsity.pruned import layer_patterns
from weft.models.imported.weights import WeightsError, values_for
from weft.simulation import simulate


def build() -> tuple[nn.Module, torch.Tensor]:
    tied = nn.Linear(16, 64, bias=False)
    model = nn.Sequential(
        nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Linear(32, 16), tied, nn.Linear(64, 16)
    )
    model[3].weight = nn.Parameter(model[0].weight.detach()[:, :16].repeat(2, 1))
    return model, torch.zeros(4, 64)


def pruned() -> nn.Module:
    torch.manual_seed(0)
    model, _ = build()
    with torch.no_grad():
        for layer, n in ((model[0], 2), (model[2], 4)):
            layer.weight.view(-1, 8)[:, n:] = 0
            layer.weight.view(-1, 8)[:, :n] = 1
    return model


def _plain(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path / "w.pt")
    return path / "w.pt"


def _nested(state: dict[str, torch.Tensor], path: Path) -> Path:
    renamed = {f"module.{name}": value for name, value in state.items()}
    torch.save({"epoch": 3, "state_dict": renamed}, path / "w.ckpt")
    return path / "w.ckpt"


def _old(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path / "w.pth", _use_new_zipfile_serialization=False)
    return path / "w.pth"


def _safe(state: dict[str, torch.Tensor], path: Path) -> Path:
    save_file({f"model.{name}": value for name, value in state.items()}, path / "w.safetensors")
    return path / "w.safetensors"


def _half(state: dict[str, torch.Tensor], path: Path) -> Path:
    save_file({name: value.half() for name, value in state.items()}, path / "w.safetensors")
    return path / "w.safetensors"


def _shards(state: dict[str, torch.Tensor], path: Path) -> Path:
    places = {name: f"part-{name.startswith('0')}.safetensors" for name in state}
    for shard in set(places.values()):
        save_file({name: state[name] for name in state if places[name] == shard}, path / shard)
    (path / "w.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return path / "w.safetensors.index.json"


def _masked(state: dict[str, torch.Tensor], path: Path) -> Path:
    model = pruned()
    mask = model[0].weight != 0
    with torch.no_grad():
        model[0].weight[~mask] = 5
    prune.custom_from_mask(model[0], "weight", mask)
    return _plain(model.state_dict(), path)


Save = Callable[[dict[str, torch.Tensor], Path], Path]


@pytest.mark.parametrize("save", [_plain, _nested, _old, _safe, _half, _shards, _masked])
def test_patterns_are_those_of_the_module_that_was_saved(save: Save, tmp_path: Path) -> None:
    model = pruned()
    path = save(model.state_dict(), tmp_path)
    empty, _ = build()
    found = layer_patterns(empty, values=values_for(empty, path))
    assert found == layer_patterns(model)
    assert [str(row.pattern) for row in found if row.axis == "k"][:2] == ["2:8", "4:8"]


def test_a_run_with_a_file_is_a_run_with_the_module(tmp_path: Path) -> None:
    model = pruned()
    path = _safe(model.state_dict(), tmp_path)
    inside = simulate(model, build()[1], recipe="from-weights", hardware="sat-32x32")
    outside = simulate(build, weights=path, hardware="sat-32x32")
    assert outside.cycles == inside.cycles
    assert outside.result.weights == inside.result.weights
    assert outside.result.recipe == "from-weights"
    with pytest.raises(ValueError, match="leave one of them out"):
        simulate(build, weights=path, recipe="bdwp", pattern="2:8")


class _Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, _ = build()
    state = pruned().state_dict()

    def refused(path: Path, word: str) -> None:
        with pytest.raises(WeightsError, match=word) as told:
            layer_patterns(model, values=values_for(model, path))
        assert "\n" not in str(told.value)
        assert path.stem in str(told.value)

    refused(tmp_path / "none.pt", "does not exist")
    torch.save({"w": torch.zeros(2), "bomb": _Bomb()}, tmp_path / "bomb.pt")
    refused(tmp_path / "bomb.pt", "nothing in it is executed")
    assert not (tmp_path / "exploded").exists()
    (tmp_path / "noise.pt").write_bytes(b"\x93noise")
    refused(tmp_path / "noise.pt", "noise.pt")
    (tmp_path / "noise.safetensors").write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    refused(tmp_path / "noise.safetensors", "no safetensors file")
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    refused(tmp_path / "list.pt", "no tensors by name")
    torch.save({name: state[name] for name in list(state)[1:]}, tmp_path / "short.pt")
    refused(tmp_path / "short.pt", r"lacks 1 of the model's 9 parameters, the first '0.weight'")
    torch.save({**state, "0.weight": torch.zeros(3, 3)}, tmp_path / "shape.pt")
    refused(tmp_path / "shape.pt", r"0.weight is \(3, 3\); the model's is \(32, 64\)")
    (tmp_path / "w.index.json").write_text("{}")
    refused(tmp_path / "w.index.json", "no weight_map")
