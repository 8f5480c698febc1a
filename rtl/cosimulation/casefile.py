"""A case on disk: machine, program, memory before and after, in one compressed file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import Pauses
from weft.sim.lanes import Over
from weft.sim.machine import Array, Buffers, Machine, Memory, Sore, Wuve
from weft.sim.pattern import Pattern
from weft.sim.program import (
    Channel,
    Dataflow,
    Instruction,
    Loop,
    Matmul,
    Node,
    Program,
    Queue,
    Reduce,
    Segment,
    Sync,
    Transfer,
    Update,
    Vector,
    Window,
    Work,
)

__all__ = ["CaseFileError", "read_case", "write_case"]

_WORKS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Transfer, Matmul, Reduce, Update, Vector, Sync)
}


_PARTS: dict[str, type[Any]] = {
    "array": Array,
    "buffers": Buffers,
    "memory": Memory,
    "sore": Sore,
    "wuve": Wuve,
}


class CaseFileError(ValueError):
    """A file that holds no case."""


def _node_out(node: Node) -> dict[str, Any]:
    if isinstance(node, Loop):
        return {"count": node.count, "body": [_node_out(inner) for inner in node.body]}
    return {
        "queue": int(node.queue),
        "kind": type(node.work).__name__,
        "work": asdict(node.work),
        "waits": [int(channel) for channel in node.waits],
        "signals": [int(channel) for channel in node.signals],
    }


def _work_in(kind: str, fields: dict[str, Any]) -> Work:
    values = dict(fields)
    if "pattern" in values:
        values["pattern"] = Pattern(**values["pattern"])
    if "dataflow" in values:
        values["dataflow"] = Dataflow(values["dataflow"])
    if "runs" in values:
        values["runs"] = tuple((count, size) for count, size in values["runs"])
    if "over" in values:
        values["over"] = Over(values["over"])
    if values.get("window") is not None:
        values["window"] = Window(**values["window"])
    for name in ("loop_strides", "constants"):
        if name in values:
            values[name] = tuple(values[name])
    return _WORKS[kind](**values)


def _node_in(node: dict[str, Any]) -> Node:
    if "body" in node:
        return Loop(node["count"], tuple(_node_in(inner) for inner in node["body"]))
    return Instruction(
        Queue(node["queue"]),
        _work_in(node["kind"], node["work"]),
        tuple(Channel(channel) for channel in node["waits"]),
        tuple(Channel(channel) for channel in node["signals"]),
    )


def _machine_in(fields: dict[str, Any]) -> Machine:
    parts = {name: kind(**fields[name]) for name, kind in _PARTS.items()}
    return Machine(**{**fields, **parts})


def write_case(path: Path, case: Case, machine: Machine, pauses: Pauses) -> None:
    """Save ``case`` with its machine and the memory's pauses."""
    head = {
        "name": case.name,
        "machine": asdict(machine),
        "pauses": asdict(pauses),
        "tensors": case.tensors,
        "segments": [
            {"name": segment.name, "body": [_node_out(node) for node in segment.body]}
            for segment in case.program.segments
        ],
        "tokens": [[int(channel), count] for channel, count in case.program.tokens],
    }
    arrays = {"memory": case.memory}
    if case.expected is not None:
        arrays["expected"] = case.expected
    text = np.frombuffer(json.dumps(head).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, head=text, **arrays)


def read_case(path: Path) -> tuple[Case, Machine, Pauses]:
    """The case, its machine, and the memory's pauses.

    Raises:
        CaseFileError: the file is missing, or no case file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            head = json.loads(arrays["head"].tobytes())
            memory = arrays["memory"]
            expected = arrays.get("expected")
        segments = tuple(
            Segment(part["name"], tuple(_node_in(node) for node in part["body"]))
            for part in head["segments"]
        )
        tokens = tuple((Channel(channel), count) for channel, count in head["tokens"])
        case = Case(head["name"], Program(segments, tokens), memory, head["tensors"], expected)
        return case, _machine_in(head["machine"]), Pauses(**head["pauses"])
    # numpy, zipfile and tokenize raise a dozen kinds of error on damaged files.
    except Exception as error:
        raise CaseFileError(f"{path} is no co-simulation case: {error}") from error
