"""The training graph: every op of one training step as PyTorch ran it, and the tensors between.

Recorded by :mod:`weft.mapper.tracing.trace`; this module needs no torch, so reading a graph is
cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import networkx as nx

from weft.sim.workload import Stage

__all__ = ["Op", "ParameterUse", "Reference", "Tensor", "TensorKind", "TrainingGraph"]

TensorKind = str
"""Where a tensor comes from: "op", "parameter", "buffer", "input" or "constant"."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value of one tensor; writing in place makes a new one.

    ``producer`` is the index of the op that makes it, None for parameters, buffers, inputs and
    constants, whose ``name`` says which. ``distinct`` counts stored elements: an expanded view
    has as many as the tensor that it expands.
    """

    index: int
    shape: tuple[int, ...]
    dtype: str
    kind: TensorKind = "op"
    producer: int | None = None
    name: str = ""
    distinct: int = 0

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def is_floating(self) -> bool:
        return "float" in self.dtype or "complex" in self.dtype


@dataclass(frozen=True, slots=True)
class Reference:
    """A tensor among the arguments of an op, by index."""

    index: int


@dataclass(frozen=True, slots=True)
class Op:
    """One op as PyTorch dispatched it.

    ``op`` is the name with its overload ("aten.convolution.default"); ``path`` the module that
    called it, or that called the forward op whose gradient it computes; ``forward`` the indices
    of the forward ops of the same autograd node (empty outside backward). ``inputs`` include
    tensors that were written in place into the storage of an argument. ``view`` ops move
    nothing; ``pointwise`` is PyTorch's own tag; ``writes`` are the arguments written in
    place. ``recompute`` marks forward ops that run again during backward (activation
    checkpointing).
    """

    index: int
    op: str
    stage: Stage
    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    view: bool = False
    pointwise: bool = False
    writes: tuple[int, ...] = ()
    forward: tuple[int, ...] = ()
    recompute: bool = False

    @property
    def name(self) -> str:
        """The name without namespace and overload: "convolution"."""
        return self.op.split(".")[1] if self.op.count(".") else self.op


@dataclass(frozen=True, slots=True)
class ParameterUse:
    """A parameter of the model: its tensor, its gradient's tensor (None: it has none), its aliases.

    ``names`` holds every qualified name under which the model has it, the first one first.
    """

    name: str
    shape: tuple[int, ...]
    tensor: int
    gradient: int | None
    names: tuple[str, ...]

    @property
    def elements(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class TrainingGraph:
    """Ops in the order they ran, the tensors they pass, and the parameters they update.

    ``optimizer`` is "sgd", "sgd-momentum", "adam", "adamw" or the class name of another one;
    ``optimizer_state`` counts its state tensors per parameter that have the parameter's shape.
    ``loss`` is the tensor that backward started from.
    """

    model: str
    batch: int
    ops: tuple[Op, ...]
    tensors: tuple[Tensor, ...]
    parameters: tuple[ParameterUse, ...]
    loss: int
    optimizer: str
    optimizer_state: int
    notes: tuple[str, ...] = ()

    @property
    def parameter_count(self) -> int:
        """Elements of all distinct parameters."""
        return sum(parameter.elements for parameter in self.parameters)

    def inputs_of(self, op: Op) -> Iterator[Tensor]:
        """The tensors that an op reads."""
        return (self.tensors[index] for index in op.inputs)

    def outputs_of(self, op: Op) -> Iterator[Tensor]:
        """The tensors that an op makes."""
        return (self.tensors[index] for index in op.outputs)

    @cached_property
    def digraph(self) -> nx.MultiDiGraph[int]:
        """The graph for networkx: ops are nodes, tensors are edges keyed by tensor index.

        Node attributes: ``op``, ``stage``, ``module``, ``input_shapes``, ``output_shapes``,
        ``input_dtypes``, ``output_dtypes``, ``view``. Edge attributes: ``tensor``, ``shape``,
        ``dtype``. Parameters, buffers, inputs and constants are nodes with negative keys
        (-1 - tensor index) and ``op`` "parameter", "buffer", "input" or "constant".
        A ``MultiDiGraph`` is a ``DiGraph``; two ops may pass more than one tensor.
        """
        graph: nx.MultiDiGraph[int] = nx.MultiDiGraph(model=self.model, batch=self.batch)
        graph.add_nodes_from((op.index, self._node_attributes(op)) for op in self.ops)
        for op in self.ops:
            for tensor in self.inputs_of(op):
                source = -1 - tensor.index if tensor.producer is None else tensor.producer
                if source < 0 and source not in graph:
                    graph.add_node(source, **_source_attributes(tensor))
                graph.add_edge(
                    source,
                    op.index,
                    key=tensor.index,
                    tensor=tensor.index,
                    shape=tensor.shape,
                    dtype=tensor.dtype,
                )
        return graph

    def _node_attributes(self, op: Op) -> dict[str, Any]:
        return {
            "op": op.op,
            "stage": op.stage,
            "module": op.path,
            "input_shapes": tuple(tensor.shape for tensor in self.inputs_of(op)),
            "output_shapes": tuple(tensor.shape for tensor in self.outputs_of(op)),
            "input_dtypes": tuple(tensor.dtype for tensor in self.inputs_of(op)),
            "output_dtypes": tuple(tensor.dtype for tensor in self.outputs_of(op)),
            "view": op.view,
        }


def _source_attributes(tensor: Tensor) -> dict[str, Any]:
    return {
        "op": tensor.kind,
        "stage": Stage.FF,
        "module": tensor.name,
        "input_shapes": (),
        "output_shapes": (tensor.shape,),
        "input_dtypes": (),
        "output_dtypes": (tensor.dtype,),
        "view": False,
    }
