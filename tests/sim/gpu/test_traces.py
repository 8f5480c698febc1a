"""Chakra traces out, PyTorch profiler traces in."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.sim.gpu.parallel.chakra import Node, encode, step_nodes, write_traces
from weft.sim.gpu.parallel.layout import Layout
from weft.sim.gpu.prediction.predict import ProductTable, predict
from weft.sim.gpu.prediction.step import simulate_step
from weft.sim.gpu.profiled.beside import beside
from weft.sim.gpu.profiled.kineto import read_kineto
from weft.sim.gpu.published.shapes import TransformerShape, transformer

WORKLOAD = transformer(TransformerShape("small", 2, 512, 8, 2048, 1000, causal=True), 2, 128)


def schema() -> Any:
    """Chakra's messages, as its schema has them, built for Google's own protocol buffers."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="et.proto", package="C", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    messages: dict[str, list[tuple[str, int, int, bool, str]]] = {
        "AttributeProto": [
            ("name", 1, kinds.TYPE_STRING, False, ""),
            ("int64_val", 9, kinds.TYPE_INT64, False, ""),
            ("uint64_val", 13, kinds.TYPE_UINT64, False, ""),
            ("bool_val", 27, kinds.TYPE_BOOL, False, ""),
            ("string_val", 29, kinds.TYPE_STRING, False, ""),
        ],
        "GlobalMetadata": [("version", 1, kinds.TYPE_STRING, False, "")],
        "Node": [
            ("id", 1, kinds.TYPE_UINT64, False, ""), ("name", 2, kinds.TYPE_STRING, False, ""),
            ("type", 3, kinds.TYPE_INT32, False, ""), ("ctrl_deps", 4, kinds.TYPE_UINT64, True, ""),
            ("data_deps", 5, kinds.TYPE_UINT64, True, ""),
            ("start_time_micros", 6, kinds.TYPE_UINT64, False, ""),
            ("duration_micros", 7, kinds.TYPE_UINT64, False, ""),
            ("attr", 10, kinds.TYPE_MESSAGE, True, ".C.AttributeProto"),
        ],
    }  # fmt: skip
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated, type_name in fields:
            added = message.field.add(name=field, number=number, type=kind)
            added.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if type_name:
                added.type_name = type_name
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"C.{name}"))
        for name in messages
    }


def framed(data: bytes) -> list[bytes]:
    """The messages of a file, each behind its length."""
    found, at = [], 0
    while at < len(data):
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 128:
                break
        found.append(data[at : at + size])
        at += size
    return found


@given(
    st.integers(0, 2**40), st.text(max_size=20), st.lists(st.integers(0, 2**20), max_size=4),
    st.integers(0, 2**40), st.integers(0, 2**50), st.sampled_from(["", "all-reduce", "gather"]),
)  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_protocol_buffers_read_what_is_written(
    number: int, name: str, needs: list[int], duration: int, size: int, collective: str
) -> None:
    kind = 7 if collective else 4
    node = Node(number, name, kind, tuple(needs), 5, duration, size, 9, collective, "data")
    found = schema()["Node"].FromString(encode(node))
    assert (found.id, found.name, found.type, list(found.data_deps)) == (number, name, kind, needs)
    assert (found.start_time_micros, found.duration_micros) == (5, duration)
    attributes = {a.name: a for a in found.attr}
    assert attributes["is_cpu_op"].bool_val is False
    if collective:
        assert attributes["comm_type"].int64_val == {"all-reduce": 0, "gather": 2}[collective]
        assert attributes["comm_size"].uint64_val == size
    else:
        assert attributes["tensor_size"].uint64_val == size


def test_a_step_is_one_trace_per_rank_and_takes_its_time(tmp_path: Path) -> None:
    nodes = step_nodes(WORKLOAD, "h100-sxm", Layout(1))
    run = simulate_step(WORKLOAD, "h100-sxm")
    assert sum(node.duration_us for node in nodes) == pytest.approx(1e6 * run.time_s, rel=0.01)
    paths = write_traces(nodes, 2, tmp_path / "step")
    assert [path.name for path in paths] == ["step.0.et", "step.1.et"]
    first, *rest = framed(paths[0].read_bytes())
    known = schema()
    assert known["GlobalMetadata"].FromString(first).version == "0.0.4"
    seen: set[int] = set()
    for message in rest:
        node = known["Node"].FromString(message)
        assert set(node.data_deps) <= seen
        seen.add(node.id)
    assert seen == set(range(len(nodes)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step.0.et", "step.1.et"]


@pytest.mark.parametrize(
    ("strategy", "kinds"),
    [("replicated", {"all-reduce"}), ("zero3", {"gather", "reduce"}), ("zero1", {"reduce"})],
)
def test_collectives_are_there(strategy: str, kinds: set[str]) -> None:
    nodes = step_nodes(WORKLOAD, "h100-sxm", Layout(4, strategy=strategy))
    assert {node.collective for node in nodes} - {""} == kinds
    tensor = step_nodes(WORKLOAD, "h100-sxm", Layout(2, tensor=2))
    assert {node.group for node in tensor} == {"", "tensor"}
    assert {node.kind for node in nodes} >= {2, 3, 4, 7}


def test_pipelines_are_refused() -> None:
    with pytest.raises(ValueError, match="pipeline 2: traces are of ranks that are alike"):
        step_nodes(WORKLOAD, "h100-sxm", Layout(2, pipeline=2))


def operator(
    number: int, name: str, dims: list[Any], kind: str = "c10::BFloat16"
) -> dict[str, Any]:
    return {
        "ph": "X", "cat": "cpu_op", "name": name, "ts": number, "dur": 1,
        "args": {"External id": number, "Input Dims": dims, "Input type": [kind] * len(dims)},
    }  # fmt: skip


def kernel(number: int, time_us: float, name: str = "nvjet") -> list[dict[str, Any]]:
    return [
        {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 0, "dur": 1,
         "args": {"External id": number, "correlation": 1000 + number}},
        {"ph": "X", "cat": "kernel", "name": name, "ts": number, "dur": time_us,
         "args": {"correlation": 1000 + number}},
    ]  # fmt: skip


def write(path: Path, events: list[dict[str, Any]], *, packed: bool = False) -> Path:
    data = json.dumps({"schemaVersion": 1, "traceEvents": events}).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def test_measured_products_stand_beside_predicted_ones(tmp_path: Path) -> None:
    events = [operator(1, "aten::mm", [[4096, 1024], [1024, 2048]]), *kernel(1, 30.0)]
    events += [operator(2, "aten::addmm", [[64], [128, 256], [256, 64], [], []]), *kernel(2, 5.0)]
    events += [operator(3, "aten::mul", [[1 << 24], [1 << 24]]), *kernel(3, 40.0, "vectorized")]
    events += [
        operator(4, "c10d::allreduce_", [[1000]]),
        *kernel(4, 70.0, "ncclDevKernel_AllReduce"),
    ]
    events += [{"ph": "X", "cat": "kernel", "name": "alone", "ts": 9, "dur": 2, "args": {}}]
    events += [{"ph": "i", "name": "mark"}, {"ph": "X"}]
    for packed in (False, True):
        rows = beside(read_kineto(write(tmp_path / "t.json", events, packed=packed)), "h100-sxm")
        by = {row.op: row for row in rows}
        table = ProductTable.of([4096.0], [2048.0], [1024.0])
        alone = predict(table, "h100-sxm", sustained=True, weight_copies=float("inf"))
        assert by["aten::mm"].predicted_us == pytest.approx(float(alone.time_us[0]))
        assert by["aten::addmm"].shapes == "64 128x256 256x64"
        assert by["aten::mul"].kind == "elementwise"
        moved = 3 * 2 * (1 << 24) / 3.352e12
        assert by["aten::mul"].predicted_us == pytest.approx(1e6 * moved / 0.88, rel=0.15)
        assert by["c10d::allreduce_"].predicted_us is None
        assert by["alone"].why.startswith("no input sizes")
        assert sum(row.measured_us for row in rows) == pytest.approx(147.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "trace .*: "),
        ("{}", "it has no list traceEvents"),
        ('{"traceEvents": []}', "it has no GPU kernel; record with ProfilerActivity.CUDA"),
        ("[1, null, {}]", "it has no GPU kernel"),
    ],
)
def test_what_is_no_trace_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_kineto(path)
    with pytest.raises(ValueError, match="No such file"):
        read_kineto(tmp_path / "none.json")


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["ph", "cat", "name", "dur", "args", "External id", "Input Dims"]),
        inner | st.sampled_from(["X", "kernel", "cpu_op"]), max_size=6),
    max_leaves=30,
))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_hostile_traces_end_in_one_line(tmp_path_factory: Any, document: object) -> None:
    path = tmp_path_factory.mktemp("k") / "t.json"
    path.write_text(json.dumps({"traceEvents": document}))
    with contextlib.suppress(ValueError):
        beside(read_kineto(path), "h100-sxm")
