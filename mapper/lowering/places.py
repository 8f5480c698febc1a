"""Ops at places: lookups, writing at indices, the loss by labels, sorting.

Loads have no addresses that the data decide. An element is picked from its row by going through the
row. Whole rows of a table by indices that the host knows when it writes the program are loads at
known addresses and a copy; by indices worked out in the step they have no lane program.
"""

from __future__ import annotations

from typing import Any

from weft.mapper.lowering.context import Lowering
from weft.mapper.lowering.emission import axis_of, emit, read_tensors, written
from weft.mapper.lowering.registry import lowers
from weft.mapper.tracing.graph import Op, Reference, Tensor
from weft.sim.lanes import Over
from weft.sim.lanes.programs import compile_program
from weft.sim.lanes.programs.places import SPLIT
from weft.sim.workload import Scan

__all__: list[str] = []

_TERMS = 8
"""Lane operations of a sum of three probabilities kept as logarithms."""

MOST_SELECTED = 32
"""Selections of one instruction; more are sorted for."""


def _passes(name: str, *constants: float) -> int:
    return compile_program(name, Over.APART, constants=constants).passes


def _known(lowering: Lowering, argument: Any) -> bool:
    """Whether the host knows the indices before the step."""
    listed: list[Any] = list(argument) if isinstance(argument, (list, tuple)) else [argument]
    known = lowering.analysis.known_to_host
    return all(known[index.index] for index in listed if isinstance(index, Reference))


_INDICES = {
    "embedding": 1, "index_select": 2, "index": 1, "_unsafe_index": 1, "take": 1,
    "embedding_dense_backward": 1, "index_put": 1, "_unsafe_index_put": 1, "_index_put_impl": 1,
    "index_add": 2, "index_copy": 2, "index_fill": 2,
}  # fmt: skip
"""Which argument holds the indices."""


@lowers("embedding", "index_select", "index", "_unsafe_index", "take", "masked_select")
def _gather_rows(lowering: Lowering, op: Op) -> None:
    """As many elements of the table as there are in the output, and the indices."""
    inputs = read_tensors(lowering, op)
    output = written(lowering, op)
    indices = sum(tensor.distinct for tensor in inputs[1:])
    place = _INDICES.get(op.name)
    known = place is not None and _known(lowering, op.arguments[place])
    emit(
        lowering,
        op,
        elements=output,
        reads=min(output, inputs[0].distinct) + indices,
        programs=("copy",) if known else (),
    )


@lowers("embedding_dense_backward", "index_put", "index_put_", "_index_put_impl_", "index_add",
        "index_add_", "index_copy", "index_copy_", "index_fill", "index_fill_",
        "_unsafe_index_put", "masked_scatter", "scatter_reduce")  # fmt: skip
def _scatter_rows(lowering: Lowering, op: Op) -> None:
    """The target is cleared or copied, then every element of the source added to its place."""
    inputs = read_tensors(lowering, op)
    in_place = op.name.endswith("_")
    source = inputs[0] if op.name == "embedding_dense_backward" else inputs[-1]
    indices = sum(t.distinct for t in inputs[1:] if t is not source)
    target = 0 if in_place else written(lowering, op)
    copied = 0 if in_place or op.name == "embedding_dense_backward" else inputs[0].distinct
    place = _INDICES.get(op.name.rstrip("_"))
    known = place is not None and _known(lowering, op.arguments[place])
    emit(
        lowering,
        op,
        elements=source.elements + target,
        reads=2 * source.distinct + indices + copied,
        writes=source.elements + target,
        programs=("add",) if known else (),
    )


@lowers("_embedding_bag", "_embedding_bag_forward_only")
def _bags(lowering: Lowering, op: Op) -> None:
    """Rows of a table by index, added up bag by bag."""
    table, indices = lowering.tensor(op.arguments[0]), lowering.tensor(op.arguments[1])
    picked = indices.elements * table.shape[-1]
    known = _known(lowering, op.arguments[1:3])
    emit(
        lowering,
        op,
        elements=picked,
        reads=min(picked, table.distinct) + indices.distinct,
        writes=lowering.outputs(op)[0].elements,
        programs=("sum",) if known else (),
    )


@lowers("_embedding_bag_backward", "_embedding_bag_dense_backward",
        "_embedding_bag_per_sample_weights_backward")  # fmt: skip
def _bags_backward(lowering: Lowering, op: Op) -> None:
    """The table's gradient is cleared, then each bag's added to the rows that it picked."""
    gradient, indices = lowering.tensor(op.arguments[0]), lowering.tensor(op.arguments[1])
    added = indices.elements * gradient.shape[-1]
    made = written(lowering, op)
    known = _known(lowering, op.arguments[1:3])
    emit(
        lowering,
        op,
        elements=added + made,
        reads=2 * added + indices.distinct,
        writes=added + made,
        programs=("add",) if known else (),
    )


@lowers("nonzero", "masked_scatter_backward", "_unique2", "unique_consecutive", "unique_dim",
        "nms", "bincount", "histc")  # fmt: skip
def _found(lowering: Lowering, op: Op) -> None:
    """Where something holds: counted, then written out in order; a sorted row's neighbours."""
    source = lowering.tensor(op.arguments[0])
    levels = max(1, (source.elements - 1).bit_length()) if "unique" in op.name else 1
    sweeps = 2 + levels * (levels + 1) // 2 if "unique" in op.name else 2
    emit(
        lowering,
        op,
        elements=max(source.elements, written(lowering, op)),
        passes=sweeps,
        reads=2 * sum(tensor.distinct for tensor in read_tensors(lowering, op)),
    )


@lowers("_ctc_loss")
def _sequence_loss(lowering: Lowering, op: Op) -> None:
    """A sum over all alignments, step by step: three terms for each state of each step."""
    scores = lowering.tensor(op.arguments[0])
    states = lowering.outputs(op)[-1].elements
    emit(lowering, op, elements=states, passes=_TERMS, reads=scores.distinct + 3 * states)


@lowers("_ctc_loss_backward")
def _sequence_loss_backward(lowering: Lowering, op: Op) -> None:
    """The same recursion from the end, then a gradient for each score."""
    made = written(lowering, op)
    states = max(tensor.elements for tensor in lowering.inputs(op))
    emit(
        lowering,
        op,
        elements=max(made, states),
        passes=2 * _TERMS,
        reads=made + 4 * states,
    )


@lowers("gather", "take_along_dim")
def _gather(lowering: Lowering, op: Op) -> None:
    """One element of its row for each output."""
    source, index = read_tensors(lowering, op)[:2]
    output = written(lowering, op)
    length = _length(source, axis_of(op, 1))
    emit(
        lowering,
        op,
        elements=output,
        reads=min(output, source.distinct) + index.distinct,
        rows=output,
        programs=("lookup",),
        scan=Scan(output * length, _passes("lookup"), source.distinct + 2 * index.distinct, output),
    )


@lowers("scatter", "scatter_", "scatter_add", "scatter_add_")
def _scatter(lowering: Lowering, op: Op) -> None:
    """The target is copied, then every element of the source put or added at its place.

    The lanes go through the row for each.
    """
    inputs = read_tensors(lowering, op)
    target, index = inputs[0], lowering.tensor(op.arguments[2])
    in_place = op.name.endswith("_")
    copied = 0 if in_place else written(lowering, op)
    program = op.name.rstrip("_")
    count = index.elements
    went = count * _length(target, axis_of(op, 1))
    emit(
        lowering,
        op,
        elements=count + copied,
        reads=2 * count + index.distinct + (0 if in_place else target.distinct),
        writes=count + copied,
        rows=count,
        programs=(program,),
        scan=Scan(went, _passes(program), went + 3 * count, went),
    )


@lowers("one_hot")
def _one_hot(lowering: Lowering, op: Op) -> None:
    rows = lowering.tensor(op.arguments[0]).elements
    passes, made = _passes("one_hot"), written(lowering, op)
    emit(lowering, op, elements=made, reads=rows, passes=passes, rows=rows, programs=("one_hot",))


def _length(source: Tensor, axis: int) -> int:
    return source.shape[axis] if source.shape else 1


@lowers("nll_loss_forward", "nll_loss2d_forward")
def _loss(lowering: Lowering, op: Op) -> None:
    """One score and one label per row, summed; the lanes go through the scores of a row."""
    scores = lowering.tensor(op.arguments[0])
    rows = lowering.tensor(op.arguments[1]).elements
    emit(
        lowering,
        op,
        elements=rows,
        reads=2 * rows,
        rows=rows,
        programs=("lookup", "sum"),
        scan=Scan(scores.elements, _passes("lookup"), scores.distinct + 2 * rows, rows),
    )


@lowers("nll_loss_backward", "nll_loss2d_backward")
def _loss_backward(lowering: Lowering, op: Op) -> None:
    """Clear the gradient, then one element per row; the lanes do both at once."""
    rows = lowering.tensor(op.arguments[2]).elements
    made = written(lowering, op)
    emit(
        lowering,
        op,
        elements=made + rows,
        reads=rows + 1,
        rows=rows,
        programs=("one_hot",),
        scan=Scan(made, _passes("one_hot"), 3 * rows, made),
    )


@lowers("topk")
def _topk(lowering: Lowering, op: Op) -> None:
    """Few are selected one after the other, each by a sweep; for many the row is sorted.

    On a GPU an insertion sorter: k compares for each element.
    """
    source = lowering.tensor(op.arguments[0])
    count, length = op.arguments[1], _length(source, axis_of(op, 2))
    constants = (float(count),)
    sorted_ = _sort_scan(source, length)
    if count > MOST_SELECTED or (
        sorted_.elements * sorted_.passes < source.elements * _passes("largest", *constants)
    ):
        _sorted(lowering, op, source, count, length)
        return
    made = written(lowering, op)
    emit(
        lowering,
        op,
        elements=source.elements,
        passes=count,
        reads=source.distinct,
        rows=source.elements // max(1, length),
        programs=("largest",),
        constants=constants,
        scan=Scan(source.elements, _passes("largest", *constants), source.distinct, made),
    )


@lowers("sort", "argsort", "kthvalue", "median", "nanmedian", "msort")
def _sort(lowering: Lowering, op: Op) -> None:
    source = lowering.tensor(op.arguments[0])
    place = 2 if op.name == "kthvalue" else 1
    whole = op.name in ("median", "nanmedian") and len(op.arguments) < 2
    length = source.elements if whole else _length(source, axis_of(op, place))
    levels = max(1, (length - 1).bit_length())
    _sorted(lowering, op, source, levels * (levels + 1) // 2, length)


def _sorted(lowering: Lowering, op: Op, source: Tensor, passes: int, length: int) -> None:
    emit(
        lowering,
        op,
        elements=source.elements,
        passes=passes,
        reads=source.distinct,
        programs=("sort_step", "sort_move"),
        scan=_sort_scan(source, length),
    )


def _sort_scan(source: Tensor, length: int) -> Scan:
    """Batcher's odd-even merge exchange (1968): log n (log n + 1) / 2 stages of n / 2 comparators.

    Every stage goes through memory; places go along as one FP16, or as two.
    """
    levels = max(1, (length - 1).bit_length())
    pairs = source.elements // 2 * (levels * (levels + 1) // 2)
    parts = 1 if length <= SPLIT else 2
    passes = compile_program("sort_step").passes + parts * compile_program("sort_move").passes
    return Scan(pairs, passes, pairs * (2 + 3 * parts), pairs * (3 + 2 * parts))
