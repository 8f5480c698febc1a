"""Reading a PyTorch profiler (Kineto) trace: which operator launched which GPU kernels.

A trace is the JSON that ``torch.profiler``'s ``export_chrome_trace`` writes; with
``record_shapes=True`` operators carry their input sizes and types.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

__all__ = ["Launched", "read_kineto"]

_ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")


@dataclass(frozen=True)
class Launched:
    """An operator with the GPU time of the kernels that it launched itself, us.

    ``shapes`` are its inputs' sizes and ``types`` their element types, empty where the trace has
    none. A kernel that no operator of the trace launched stands under its own name.
    """

    op: str
    shapes: tuple[tuple[int, ...], ...]
    types: tuple[str, ...]
    kernels: tuple[str, ...]
    time_us: float


def read_kineto(path: Path) -> list[Launched]:
    """Operators that put work on the GPU, in the order of their first kernel.

    Raises:
        ValueError: the file cannot be read, is no such trace, or has no GPU kernel.
    """
    events = _events(path)
    operators: dict[int, Mapping[str, Any]] = {}
    launches: dict[int, int] = {}
    for event in events:
        arguments = _arguments(event)
        external = arguments.get("External id", arguments.get("external id"))
        kind = event.get("cat")
        if kind == "cpu_op" and isinstance(external, int):
            operators[external] = event
        elif kind in ("cuda_runtime", "cuda_driver") and isinstance(external, int):
            correlation = arguments.get("correlation")
            if isinstance(correlation, int):
                launches[correlation] = external
    found: dict[object, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") in _ON_GPU:
            arguments = _arguments(event)
            external = arguments.get("External id", arguments.get("external id"))
            correlation = arguments.get("correlation")
            if not isinstance(external, int) or external not in operators:
                external = launches.get(correlation) if isinstance(correlation, int) else None
            key = external if external in operators else ("alone", len(found))
            found.setdefault(key, []).append(event)
    if not found:
        raise ValueError(f"trace {path}: it has no GPU kernel; record with ProfilerActivity.CUDA")
    return [
        _launched(operators.get(key) if isinstance(key, int) else None, own)
        for key, own in found.items()
    ]


def _events(path: Path) -> list[Mapping[str, Any]]:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        document = json.loads(raw)
    except (OSError, ValueError, EOFError, RecursionError) as error:
        raise ValueError(f"trace {path}: {error}") from error
    events = document.get("traceEvents") if isinstance(document, dict) else document
    if not isinstance(events, list):
        raise ValueError(f"trace {path}: it has no list traceEvents; a PyTorch profiler trace does")
    return [cast("Mapping[str, Any]", event) for event in events if _is_complete(event)]


def _is_complete(event: object) -> bool:
    if not isinstance(event, dict):
        return False
    fields = cast("dict[str, Any]", event)
    duration = fields.get("dur")
    return (
        fields.get("ph") == "X"
        and isinstance(fields.get("name"), str)
        and isinstance(duration, int | float)
        and duration >= 0
    )


def _arguments(event: Mapping[str, Any]) -> Mapping[str, Any]:
    found = event.get("args")
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _launched(
    operator: Mapping[str, Any] | None, kernels: Sequence[Mapping[str, Any]]
) -> Launched:  # fmt: skip
    names = tuple(str(kernel["name"]) for kernel in kernels)
    time_us = float(sum(kernel["dur"] for kernel in kernels))
    if operator is None:
        return Launched(names[0], (), (), names, time_us)
    arguments = _arguments(operator)
    shapes = tuple(_sizes(arguments.get("Input Dims", arguments.get("Input dims"))))
    types = arguments.get("Input type")
    listed = tuple(str(kind) for kind in types) if isinstance(types, list) else ()
    return Launched(str(operator["name"]), shapes, listed, names, time_us)


def _sizes(found: object) -> Iterator[tuple[int, ...]]:
    for entry in cast("list[object]", found) if isinstance(found, list) else []:
        numbers = cast("list[object]", entry) if isinstance(entry, list) else []
        whole = [n for n in numbers if isinstance(n, int) and n >= 0]
        yield tuple(whole) if len(whole) == len(numbers) else ()
