"""Every zoo model: products and multiply-accumulates as PyTorch counts them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from weft.mapper.lowering.lower import edge_layers, lower
from weft.mapper.tracing.trace import trace
from weft.models.zoo import ZOO, build
from weft.sim.lanes.programs import PROGRAMS
from weft.sim.workload import Stage, VectorOp


def counted(name: str) -> dict[str, int]:
    """What PyTorch counts on meta tensors."""
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH):
        model, inputs, loss_fn = build(name)
        with FlopCounterMode(display=False) as counter:
            loss_fn(model(inputs)).backward()
    total = counter.get_flop_counts()["Global"]
    return {str(op).removeprefix("aten."): count // 2 for op, count in total.items() if count}


@pytest.mark.parametrize("name", ZOO)
def test_zoo_model(name: str) -> None:
    graph = trace(lambda: build(name), name=name)
    workload = lower(graph)
    ours: Counter[str] = Counter()
    for product in workload.products:
        ours[product.op] += product.macs_dense
    assert dict(ours) == counted(name)
    assert workload.parameters == ZOO[name].parameters
    assert not workload.uncosted
    vector_ops = [item for item in workload.items if isinstance(item, VectorOp)]
    assert all(op.programs and not op.unbuilt for op in vector_ops)
    assert all(program in PROGRAMS for op in vector_ops for program in op.programs)
    weighted = {p.name for p in workload.products if p.stage is Stage.FF and p.right.parameter}
    assert {p.name for p in workload.products if p.stage is Stage.WU} == weighted
    roles = edge_layers(workload)
    assert len(roles.classifier) == 1
    assert len(roles.stem) == (1 if ZOO[name].kind == "image" else 0)
