"""SCALE-Sim topologies: read as SCALE-Sim does, lowered as PyTorch does, wrong rows named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from weft.mapper.topology.table import Layer, Topology, read_topology
from weft.mapper.topology.workload import topology_workload
from weft.mapper.topology.writing import topology_text
from weft.sim.pattern import DENSE, Pattern
from weft.sim.workload import MaskWork, Operand, Product, Role, Stage, UpdateOp, Workload
from weft.simulation import Settings, simulate_topology, trace_workload

CONVOLUTION = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
    "Strides,"
)
MATRIX = "Layer, M, N, K,"


def read(text: str, folder: Path) -> Topology:
    path = folder / "net.csv"
    path.write_text(text)
    return read_topology(path)


def test_both_tables(tmp_path: Path) -> None:
    net = read(f"{CONVOLUTION}\nconv, 230, 228, 7, 3, 3, 64, 2,\n", tmp_path)
    assert net.name == "net"
    (layer,) = net.layers
    assert (layer.name, layer.m, layer.k, layer.n) == ("conv", 113 * 114, 7 * 3 * 3, 64)
    assert layer.partial
    (layer,) = read(f"{MATRIX}\nfc, 5, 7, 9,\n", tmp_path).layers
    assert layer == Layer("fc", 5, 9, 7)


def test_peers_convolutions_have_the_products_that_scale_sim_ran(tmp_path: Path) -> None:
    """Sizes of reference runs: 64 to 64 and 128 to 128 3x3, ResNet-18's first and a strided 1x1."""
    rows = [
        ("conv3x3_64_64_56", "58, 58, 3, 3, 64, 64, 1", (3136, 576, 64)),
        ("conv3x3_128_128_28", "30, 30, 3, 3, 128, 128, 1", (784, 1152, 128)),
        ("r18_conv1_7x7_s2", "230, 230, 7, 7, 3, 64, 2", (12769, 147, 64)),
        ("r18_ds_1x1_64_128_s2", "56, 56, 1, 1, 64, 128, 2", (841, 64, 128)),
    ]
    net = read("\n".join([CONVOLUTION, *(f"{name}, {row}," for name, row, _ in rows)]), tmp_path)
    assert [(layer.m, layer.k, layer.n) for layer in net.layers] == [row[2] for row in rows]


SIZE = st.integers(1, 999)
NAME = st.text("abcXYZ_019", min_size=1, max_size=8)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(NAME, SIZE, SIZE, SIZE, st.sampled_from([DENSE, Pattern(2, 4)])), min_size=1
    ),
    separator=st.sampled_from([",", ", ", "\t", " ,\t"]),
    end=st.sampled_from(["", ",", ",,", ", # remark"]),
    newline=st.sampled_from(["\n", "\r\n", "\n\n"]),
    named=st.booleans(),
)
def test_any_way_of_writing_a_table_is_read_the_same(
    rows: list[tuple[str, int, int, int, Pattern]],
    separator: str,
    end: str,
    newline: str,
    named: bool,
    tmp_path: Path,
) -> None:
    if separator == "\t":
        end = end.replace(",", "\t")
    header = ["LAYER", "m", "N ", "k", *(["Sparsity"] if named else [])]
    cells = [[name, *map(str, sizes), str(pattern)] for name, *sizes, pattern in rows]
    text = newline.join(separator.join(line) + end for line in [header, *cells])
    found = read(text, tmp_path).layers
    assert [(x.m, x.n, x.k, x.pattern) for x in found] == [row[1:] for row in rows]
    assert len({layer.name for layer in found}) == len(rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty", "Layer name, IFMAP height".lower(), "layer, m, n, k"]),
        (MATRIX, ["has a header and no layer"]),
        ("conv1, 3, 4, 5,\nb, 3, 4, 5,\n", ["line 1", "'conv1' looks like a layer"]),
        (f"{MATRIX}\nAlexNet,\n", ["has a header and no layer"]),
        (f"{MATRIX}\n\na, 1, 2, 3,\nb, 1, 2,\n", ["line 4", "k is missing", "layer, m, n, k"]),
        (f"{MATRIX}\na, 1, , 3,\n", ["line 2", "n is missing"]),
        (f"{MATRIX}\na, 1, 2, 3, 2:4, 9, 9\n", ["line 2", "'9' is too many", "batch, N:M"]),
        (f"{MATRIX}\na, 1, 2, 3, 2:4, 1:2\n", ["line 2", "'1:2' is too many", "one N:M"]),
        (f"{MATRIX}\na, 1, 2, {10**19},\n", ["line 2", f"k is {10**19}", "at most 2^53"]),
        (f"{MATRIX}\na, {10**9}, 2, {10**9},\n", ["line 2", "M x K has", "at most 2^53"]),
        (f"{MATRIX}\na, 1, 2, three,\n", ["line 2", "k is 'three'", "positive whole number"]),
        (f"{MATRIX}\na, 0, 2, 3,\n", ["line 2", "m is '0'"]),
        (f"{MATRIX}\na, 1, 2.0, 3,\n", ["line 2", "n is '2.0'"]),
        (f"{MATRIX}\na, 1, 2, 3, 4:2,\n", ["line 2", "sparsity", "1 <= N <= M <= 16"]),
        (f"{MATRIX}\na, 1, 2, 3, x,\n", ["line 2", "sparsity", "not N:M"]),
        (f"{CONVOLUTION}\nc, 5, 5, 7, 3, 1, 1, 1,\n", ["line 2", "filter height is 7", "5"]),
        (f"{CONVOLUTION}\nc, 5, 5, 3, 6, 1, 1, 1,\n", ["line 2", "filter width is 6", "5"]),
        (f"{CONVOLUTION}\nc, 5, 5, 3, 3, 1, 1,\n", ["line 2", "strides is missing"]),
        (f"{CONVOLUTION}\nc, 5, 5, 3, 3, 1, 1, 1, 2, 3,\n", ["line 2", "'3' is too many"]),
        (f"{CONVOLUTION}\nc, {10**8}, {10**8}, 1, 1, 9, 1, 1,\n", ["line 2", "the input has"]),
    ],
)
def test_a_malformed_file_is_told_by_line(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"net\.csv") as caught:
        read(text, tmp_path)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        CONVOLUTION,
        "Layer, IFMAP Width, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter",
        ",,,,,,,",
        "",
        "what, ever, stands, here",
        "Layer name,Ifmap height,ifmap width,filter height,filter width,channel,num filters",
    ],
)
def test_headers_are_not_read(header: str, tmp_path: Path) -> None:
    """By position, as SCALE-Sim reads: repeated, empty and foreign names are all the same."""
    (layer,) = read(f"{header}\nconv, 230, 228, 7, 3, 3, 64, 2,\n", tmp_path).layers
    assert (layer.m, layer.k, layer.n) == (113 * 114, 7 * 3 * 3, 64)


def test_a_foreign_header_leaves_the_kind_to_the_rows(tmp_path: Path) -> None:
    (layer,) = read("L,A,B,C\nfc, 5, 7, 9,\n", tmp_path).layers
    assert (layer.m, layer.n, layer.k) == (5, 7, 9)


def test_strides_of_each_axis(tmp_path: Path) -> None:
    (layer,) = read(f"{CONVOLUTION}\nc, 20, 20, 4, 4, 1, 8, 2, 4, 2:4\n", tmp_path).layers
    assert layer.convolution is not None
    assert (layer.convolution.stride, layer.m) == ((2, 4), 9 * 5)
    assert layer.pattern == Pattern(2, 4)


def test_batches_of_a_line(tmp_path: Path) -> None:
    net = read(
        f"{CONVOLUTION} Batch Size,\nc, 9, 9, 3, 3, 1, 8, 1, 5,\nd, 9, 9, 3, 3, 1, 8, 1,\n",
        tmp_path,
    )
    assert [layer.images for layer in net.layers] == [5, 1]
    products = topology_workload(net, images=2).products
    assert [product.m for product in products] == [10 * 49, 2 * 49]
    (layer,) = read(f"{MATRIX}\nqk, 16, 16, 64, 12,\n", tmp_path).layers
    assert (layer.batch, layer.m, layer.n, layer.k) == (12, 16, 16, 64)


def test_headings_and_further_columns_are_told(tmp_path: Path) -> None:
    rows = "AlexNet,\nc, 9, 9, 3, 3, 1, 8, 1,,,7,7,49\n"
    net = read(f"{CONVOLUTION},,Eh,Ew,e2\n,,,,,,,,,,,,\n{rows}", tmp_path)
    assert [layer.m for layer in net.layers] == [49]
    assert net.notes == (
        "lines with a name alone are headings: AlexNet",
        "columns that SCALE-Sim does not have are left out: Eh, Ew, e2",
    )


def test_each_row_has_its_own_pattern(tmp_path: Path) -> None:
    net = read(f"{MATRIX}\na, 64, 64, 64, 1:4,\nb, 64, 64, 64, 2:4\nc, 64, 64, 64,\n", tmp_path)
    run = simulate_topology(net, Settings(), training=True)
    ff = {x.name: x.pattern for x in run.result.layers if x.stage == "ff" and x.m}
    assert ff == {"a": "1:4", "b": "2:4", "c": "dense"}
    assert run.result.pattern == "1:4, 2:4 by layer"
    assert run.result.stages["ff"].macs_done == 64**3 * 7 // 4


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*none\.csv"):
        read_topology(tmp_path / "none.csv")


def _plain(operand: Operand) -> tuple[Role, int]:
    return operand.role, operand.elements


def shapes(workload: Workload, stage: Stage) -> list[object]:
    """Sizes, operands and geometry of a stage's products, without tensors and names."""
    return [
        ((p.m, p.k, p.n, p.batch), p.convolution, *map(_plain, (p.left, p.right, p.output)))
        for p in workload.products
        if p.stage is stage
    ]


@pytest.mark.parametrize("images", [1, 3])
def test_convolutions_are_what_pytorch_does_in_a_training_step(images: int, tmp_path: Path) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.Conv2d(8, 16, (1, 3), stride=2, bias=False),
        nn.Conv2d(16, 32, 3, groups=16, bias=False),
    )
    rows = "a, 17, 15, 3, 3, 3, 8, 1,\nb, 15, 13, 1, 3, 8, 16, 2,\ncDP, 8, 6, 3, 3, 16, 2, 1,\n"
    traced = trace_workload(model, torch.empty(images, 3, 17, 15), optimizer="adam")
    found = topology_workload(
        read(f"{CONVOLUTION}\n{rows}", tmp_path), images=images, training=True, optimizer="adam"
    )
    for stage in (Stage.FF, Stage.BP, Stage.WU):
        assert shapes(found, stage) == shapes(traced, stage)
    assert [p.stage for p in found.products] == [p.stage for p in traced.products]
    updates = [(u.elements, u.optimizer, u.state) for u in found.items if isinstance(u, UpdateOp)]
    assert updates == [
        (u.elements, u.optimizer, u.state) for u in traced.items if isinstance(u, UpdateOp)
    ]
    assert (found.batch, found.parameters) == (traced.batch, traced.parameters)


def test_matrix_products_are_what_pytorch_does_in_a_training_step(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(24, 40, bias=False), nn.Linear(40, 10, bias=False))
    traced = trace_workload(model, torch.empty(6, 24))
    net = read(f"{MATRIX}\na, 6, 40, 24,\nb, 6, 10, 40,\n", tmp_path)
    found = topology_workload(net, training=True)
    for stage in (Stage.FF, Stage.BP, Stage.WU):
        assert shapes(found, stage) == shapes(traced, stage)


def test_every_item_waits_for_what_it_reads(tmp_path: Path) -> None:
    net = read(f"{MATRIX}\na, 6, 40, 24,\nb, 6, 10, 40,\nc, 6, 5, 10,\n", tmp_path)
    items = topology_workload(net, training=True).items
    place = {
        (item.name, item.stage): position
        for position, item in enumerate(items)
        if isinstance(item, Product | UpdateOp)
    }

    def waits(name: str, stage: Stage) -> set[tuple[str, Stage]]:
        wanted = items[place[name, stage]].inputs
        return {key for key, position in place.items() if position in wanted}

    ff, bp, wu = Stage.FF, Stage.BP, Stage.WU
    assert waits("a", ff) == set()
    assert waits("b", ff) == {("a", ff)}
    assert waits("c", bp) == {("c", ff)}
    assert waits("b", bp) == {("c", bp)}
    assert waits("c", wu) == {("c", ff), ("b", ff)}
    assert waits("a", wu) == {("b", bp)}
    assert waits("a", Stage.OPTIMIZER) == {("a", wu)}
    assert ("a", bp) not in place


def test_forward_only_unless_training(tmp_path: Path) -> None:
    net = read(f"{MATRIX}\na, 64, 64, 64, 2:4,\nb, 64, 64, 64,\n", tmp_path)
    forward = simulate_topology(net, Settings())
    training = simulate_topology(net, Settings(), training=True)
    assert {layer.stage for layer in forward.result.layers} == {"ff"}
    assert {layer.stage for layer in training.result.layers} > {"ff", "bp", "wu", "optimizer"}
    for run in (forward, training):
        assert run.result.stages["ff"].macs_dense == 2 * 64**3
        assert run.result.stages["ff"].macs_done == 3 * 64**3 // 2
        patterns = {layer.name: layer.pattern for layer in run.result.layers if layer.stage == "ff"}
        assert patterns == {"a": "2:4", "b": "dense"}
    assert training.result.stages["bp"].macs_done == 64**3
    masks = [item for plan in training.schedules.plans for item in plan.workload.items]
    assert [item.name for item in masks if isinstance(item, MaskWork)] == ["a:k"]


def test_recipes_hold_for_topologies(tmp_path: Path) -> None:
    net = read(f"{MATRIX}\n" + "".join(f"l{i}, 64, 64, 64,\n" for i in range(3)), tmp_path)
    run = simulate_topology(net, Settings(recipe="bdwp", pattern="2:8"), training=True)
    sparse = {(x.name, x.stage) for x in run.result.layers if x.pattern == "2:8" and x.m}
    assert sparse == {("l1", "ff"), ("l1", "bp")}


@pytest.mark.parametrize(
    ("chosen", "images", "message"),
    [
        (Settings(recipe="bdwp", pattern="2:8"), 1, "sparsity column, and recipe is bdwp"),
        (Settings(optimizer="lion"), 1, "optimizer 'lion' is not known; allowed: sgd"),
        (Settings(), 4, "batch is 4; in net M already holds the samples"),
        (Settings(), 0, "batch is 0"),
    ],
)
def test_settings_that_do_not_fit(
    chosen: Settings, images: int, message: str, tmp_path: Path
) -> None:
    net = read(f"{MATRIX}\na, 64, 64, 64, 2:4,\n", tmp_path)
    with pytest.raises(ValueError, match=message):
        simulate_topology(net, chosen, images=images)


@pytest.mark.parametrize("training", [False, True])
def test_what_is_exported_is_read_back(training: bool, tmp_path: Path) -> None:
    """Every product again, its multiply-accumulates with it, batches of an attention too."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, 3, stride=2, groups=4),
        nn.Flatten(2),
        nn.TransformerEncoderLayer(36, 4, 16, batch_first=True),
    )
    workload = trace_workload(model, torch.empty(2, 3, 14, 14))
    net = read(topology_text(workload, training=training), tmp_path)
    chosen = [p for p in workload.products if training or p.stage is Stage.FF]
    assert [(x.m, x.k, x.n, x.batch) for x in net.layers] == [
        (p.m, p.k, p.n, p.batch) for p in chosen
    ]
    again = topology_workload(net).products
    assert sum(p.macs_dense for p in again) == sum(p.macs_dense for p in chosen)


def weft(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "weft", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_command_line(tmp_path: Path) -> None:
    (tmp_path / "net.csv").write_text(f"{CONVOLUTION}\nc, 16, 16, 3, 3, 32, 32, 1,\n")
    result = weft("simulate", "net.csv", "--training", "--batch", "2", "--json", "-", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)
    assert (data["model"], data["batch"]) == ("net", 2)
    assert data["stages"]["wu"]["macs_dense"] == 2 * 14 * 14 * 288 * 32


def test_topologies_are_compared(tmp_path: Path) -> None:
    """The same figures as one by one, and a folder for each run."""
    rows = "".join(f"l{i}, 64, 64, 64,\n" for i in range(3))
    (tmp_path / "net.csv").write_text(f"{MATRIX}\n{rows}")
    arguments = ["compare", "net.csv", "--recipe", "bdwp", "--pattern", "2:8", "--training"]
    result = weft(*arguments, "--out", "grid", "--json", "-", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    dense, sparse = json.loads(result.stdout)
    net = read_topology(tmp_path / "net.csv")
    for data, settings_ in ((dense, Settings()), (sparse, Settings("bdwp", "2:8"))):
        alone = simulate_topology(net, settings_, training=True)
        assert data["total"]["cycles"] == alone.cycles
    assert sparse["total"]["macs_done"] < dense["total"]["macs_done"]
    assert len(list((tmp_path / "grid").glob("net-*/run.json"))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "bad.csv"], "bad.csv line 2: m is 'x'"),
        (["compare", "mlp", "--training"], "--training is for topology files"),
        (["simulate", "bad.csv"], "bad.csv line 2: m is 'x'; it must be a positive whole number"),
        (["simulate", "net.csv", "--input", "8"], "--input is for zoo models"),
        (["simulate", "resnet18", "--training"], "--training is for topology files"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(f"{MATRIX}\na, x, 2, 3,\n")
    (tmp_path / "net.csv").write_text(f"{MATRIX}\na, 1, 2, 3,\n")
    result = weft(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
