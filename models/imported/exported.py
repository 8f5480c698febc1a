"""Exported programs: what ``torch.export.save`` wrote, as a module that autograd can train."""

from __future__ import annotations

import functools
import json
import logging
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils import _pytree as pytree

__all__ = ["ExportedError", "load_exported"]


class ExportedError(ValueError):
    """A file that holds no exported program, or one that cannot be run here."""


def load_exported(path: Path, batch: int | None = None) -> tuple[nn.Module, Any]:
    """The program's module, with the layers it was exported from, and inputs of zeros.

    Parameters train as in the module that was exported; whatever the program fixes (a norm that
    uses its stored statistics, a dropout that is off) stays as it is. ``batch`` is the extent of
    the first dimension of the inputs, where the program was exported with one that is free.

    Raises:
        ExportedError: no such file, no exported program, pickled or compiled parts, or a batch
            that the program does not allow.
    """
    if not path.is_file():
        raise ExportedError(f"file {path} does not exist")
    _check_parts(path)
    try:
        with _without_pickles():
            program: Any = torch.export.load(path)
            module = _trainable(_module(program))
            module.weight_layouts = _layouts(program)  # type: ignore[assignment]
            positional, keywords = _inputs(program, path, batch)
            if keywords and positional:
                _take_in_order(module, len(positional), tuple(keywords))
                return module, (*positional, *keywords.values())
            return module, keywords or positional
    except ExportedError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise ExportedError(f"{path} cannot be loaded: {type(error).__name__}: {text}") from None


def _check_parts(path: Path) -> None:
    """Refuse what loading would unpickle or run as compiled code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            configs = [json.loads(archive.read(n)) for n in names if n.endswith("_config.json")]
    except (zipfile.BadZipFile, ValueError, OSError):
        raise ExportedError(
            f"{path} is no exported program; write one with torch.export.save(program, FILE)"
        ) from None
    if any("/aotinductor/" in f"/{name}" for name in names):
        raise ExportedError(f"{path} holds compiled code; save the exported program itself")
    for config in configs:
        for name, part in config.get("config", {}).items():
            plain = str(part.get("path_name", "")).startswith(("weight_", "tensor_"))
            if part.get("use_pickle") or not plain:
                raise ExportedError(
                    f"{path}: {name!r} is pickled, and nothing is unpickled; "
                    "export a program of plain tensors"
                )


@contextmanager
def _without_pickles() -> Iterator[None]:
    """Loading falls back to unpickling anything; inside, it cannot, and says nothing."""
    only = functools.partial(torch.load, weights_only=True)

    def load(*arguments: Any, **keywords: Any) -> Any:
        return only(*arguments, **{**keywords, "weights_only": True})

    loggers = [logging.getLogger(name) for name in ("torch.export", "torch._export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), mock.patch.object(torch, "load", load):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _module(program: Any) -> nn.Module:
    """With the hierarchy it was exported from; flat where that cannot be told."""
    try:
        return torch.export.unflatten(program)
    except Exception:
        return program.module(check_guards=False)


def _trainable(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad = True
    return module


def _layouts(program: Any) -> dict[str, tuple[int, bool]]:
    """By parameter, the groups of its convolution, and whether it lies as (inputs, outputs).

    The modules of a program are of no kind of PyTorch's that would say so.
    """
    parameters = program.graph_signature.inputs_to_parameters
    layouts: dict[str, tuple[int, bool]] = {}
    for node in program.graph.nodes:
        name = node.target.name().removeprefix("aten::") if hasattr(node.target, "name") else ""
        place = _WEIGHT_PLACES.get(name.partition(".")[0])
        if place is None or place >= len(node.args):
            continue
        parameter = parameters.get(getattr(node.args[place], "name", ""))
        if parameter is not None:
            names = (argument.name for argument in node.target._schema.arguments)
            said = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
            transposed = "transpose" in name or "mm" in name or name.startswith("matmul")
            layouts[parameter] = (
                int(said.get("groups", 1)),
                transposed or bool(said.get("transposed", False)),
            )
    return layouts


_WEIGHT_PLACES = {
    **dict.fromkeys(("convolution", "conv1d", "conv2d", "conv3d"), 1),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1),
    **dict.fromkeys(("matmul", "mm", "bmm"), 1),
    "addmm": 2,
}
"""By op, where its weight is among its arguments."""


def _take_in_order(module: nn.Module, positional: int, keywords: tuple[str, ...]) -> None:
    """Let the module take its keyword arguments behind the positional ones."""
    forward = module.forward

    def in_order(*values: Any) -> Any:
        named = dict(zip(keywords, values[positional:], strict=True))
        return forward(*values[:positional], **named)

    module.forward = in_order


def _inputs(program: Any, path: Path, batch: int | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Zeros of the placeholders' shapes; a free extent is that of the example it was exported with.

    Positional arguments, and those with a keyword.
    """
    signature = program.graph_signature
    users = set(signature.user_inputs)
    leaves = [
        _zeros(node.meta["val"], path, batch)
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in users
    ]
    spec = program.call_spec.in_spec
    positional, keywords = pytree.tree_unflatten(leaves, spec)
    return tuple(positional), dict(keywords)


def _zeros(value: Any, path: Path, batch: int | None) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    extents = list(value.shape)
    if batch is not None and extents:
        if not isinstance(extents[0], torch.SymInt):
            raise ExportedError(
                f"--batch is {batch}; {path} was exported for {extents[0]}, and not with a batch "
                "that is free (dynamic_shapes)"
            )
        extents[0] = batch
    sizes = [_hint(extent) for extent in extents]
    return torch.zeros(sizes, dtype=value.dtype)


def _hint(extent: Any) -> int:
    return int(extent.node.hint) if isinstance(extent, torch.SymInt) else int(extent)
