"""Weights from a file: safetensors, one or in shards, or a state dict that torch saved."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ["Checkpoint", "WeightsError", "open_checkpoint", "values_for"]

_INDEX = ".index.json"
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "weights")
"""Keys under which training scripts keep the state dict."""


class WeightsError(ValueError):
    """A file of weights that cannot be read or does not fit the model."""


@dataclass(frozen=True)
class Checkpoint:
    """Names of the tensors in a file, and how to read one."""

    path: Path
    names: frozenset[str]
    read: Callable[[str], torch.Tensor]


def open_checkpoint(path: Path) -> Checkpoint:
    """The tensors of a file; nothing in it is executed, and safetensors are read one by one.

    Raises:
        WeightsError: no such file, another format, more than tensors in it, or safetensors is
            not installed.
    """
    if not path.is_file():
        raise WeightsError(f"weights file {path} does not exist")
    if path.name.endswith(_INDEX):
        return _sharded(path)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    state = _state_dict(path)
    return Checkpoint(path, frozenset(state), state.__getitem__)


def _safetensors(path: Path) -> Checkpoint:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise WeightsError(f"{path} needs safetensors; pip install safetensors") from None
    try:
        file: Any = safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no safetensors file: {_line(error)}") from None
    return Checkpoint(path, frozenset(file.keys()), file.get_tensor)


def _sharded(path: Path) -> Checkpoint:
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        shards = {name: path.parent / Path(shard).name for name, shard in places.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WeightsError(f"{path} has no weight_map of tensor to file") from None
    opened = {shard: open_checkpoint(shard) for shard in sorted(set(shards.values()))}
    for name, shard in shards.items():
        if name not in opened[shard].names:
            raise WeightsError(f"{path} says that {shard.name} has {name!r}, which it has not")
    return Checkpoint(path, frozenset(shards), lambda name: opened[shards[name]].read(name))


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    loaded: Any = None
    try:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # written before torch 1.6, which cannot be mapped
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} holds more than weights, and nothing in it is executed; "
            "save a state dict: torch.save(model.state_dict(), FILE)"
        ) from None
    except Exception as error:
        raise WeightsError(f"{path} is no state dict saved by torch: {_line(error)}") from None
    while isinstance(loaded, Mapping):
        tensors = {k: v for k, v in loaded.items() if isinstance(v, torch.Tensor)}
        if tensors:
            return {str(name): tensor for name, tensor in tensors.items()}
        loaded = next((loaded[key] for key in _WRAPPERS if key in loaded), None)
    raise WeightsError(f"{path} has no tensors by name; save a state dict")


def values_for(model: nn.Module, path: Path) -> Callable[[str], torch.Tensor]:
    """The value in a file of each of the model's parameters, by the parameter's name.

    Names may differ by what wrappers put before them (``module.``, ``model.``), and tied
    parameters are found under any of their names. Masks beside a weight, as
    ``torch.nn.utils.prune`` keeps them, are applied.

    Raises:
        WeightsError: as :func:`open_checkpoint`; a parameter that is missing or of another shape.
    """
    file = open_checkpoint(path)
    aliases: dict[int, list[str]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(name)
        shapes[id(parameter)] = tuple(parameter.shape)
    named = _renamed(file.names, {_plain(name) for names in aliases.values() for name in names})
    readers: dict[str, Callable[[], torch.Tensor]] = {}
    missing: list[str] = []
    for key, names in aliases.items():
        found = next((named[_plain(name)] for name in names if _plain(name) in named), None)
        if found is None:
            missing.append(names[0])
            continue
        readers.update(dict.fromkeys(names, _reader(file, found, names[0], shapes[key])))
    if missing:
        raise WeightsError(
            f"{path} lacks {len(missing)} of the model's {len(aliases)} parameters, the first "
            f"{missing[0]!r}; it has {_some(file.names)}"
        )
    return lambda name: readers[name]()


def _reader(
    file: Checkpoint, names: tuple[str, ...], parameter: str, shape: tuple[int, ...]
) -> Callable[[], torch.Tensor]:
    def read() -> torch.Tensor:
        values = [_dense(file.read(name)) for name in names]
        value = values[0] if len(values) == 1 else values[0] * values[1]
        if tuple(value.shape) != shape:
            raise WeightsError(
                f"{file.path}: {parameter} is {tuple(value.shape)}; the model's is {shape}"
            )
        return value

    return read


def _dense(value: torch.Tensor) -> torch.Tensor:
    value = value.detach()
    value = value if value.layout is torch.strided else value.to_dense()
    return value.float() if value.is_floating_point() and value.element_size() == 1 else value


def _plain(name: str) -> str:
    """A parameter's name without what pruning and parametrizations make of it."""
    owner, _, leaf = name.rpartition(".parametrizations.")
    if leaf.endswith(".original"):
        name = f"{owner}.{leaf.removesuffix('.original')}".removeprefix(".")
    return name.removesuffix("_orig")


def _renamed(names: Iterable[str], wanted: set[str]) -> dict[str, tuple[str, ...]]:
    """By the model's names, the tensors that make up a value: itself, or it and its mask."""
    names = set(names)
    plain = {
        _plain(name): (name, mask) if (mask := f"{_plain(name)}_mask") in names else (name,)
        for name in names
    }
    choices = [plain]
    choices += [_stripped(plain, start) for start in _starts(plain)]
    choices += [{start + name: found for name, found in plain.items()} for start in _starts(wanted)]
    return max(choices, key=lambda choice: len(wanted & choice.keys()))  # the first of the best


def _starts(names: Iterable[str]) -> list[str]:
    parts = [name.split(".") for name in names]
    found = {
        ".".join(part[:depth]) + "." for part in parts for depth in (1, 2) if len(part) > depth
    }
    return sorted(found)


def _stripped(names: Mapping[str, tuple[str, ...]], start: str) -> dict[str, tuple[str, ...]]:
    return {n.removeprefix(start): found for n, found in names.items() if n.startswith(start)}


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" and {len(ordered) - 3} more" if len(ordered) > 3 else "")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
