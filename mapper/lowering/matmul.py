"""Matrix products: mm, bmm, mv and their kin, forward and backward."""

from __future__ import annotations

from typing import NamedTuple

from weft.mapper.lowering.context import ForwardProduct, Lowering, Made
from weft.mapper.lowering.registry import lowers
from weft.mapper.tracing.graph import Op, Tensor
from weft.sim.workload import Operand, Product, Role, Stage

__all__: list[str] = []


class _Sizes(NamedTuple):
    m: int
    k: int
    n: int
    batch: int


@lowers("mm", "bmm", "_scaled_mm", "_grouped_mm", "mv", "dot", "vdot")
def _plain(lowering: Lowering, op: Op) -> None:
    _product(lowering, op, lowering.tensor(op.arguments[0]), lowering.tensor(op.arguments[1]))


@lowers("addmm", "addmm_", "baddbmm", "baddbmm_", "addbmm", "addbmm_", "addmv", "addmv_")
def _with_addend(lowering: Lowering, op: Op) -> None:
    addend, left, right = (lowering.tensor(argument) for argument in op.arguments[:3])
    made = _product(lowering, op, left, right)
    if op.keywords.get("beta", 1) != 0:
        lowering.add_bias(op, made, addend)


def _sizes(left: Tensor, right: Tensor) -> _Sizes:
    """m, k, n, batch of a product of two matrices, two batches of them, or with a vector.

    Of a grouped product, where the rows of one matrix are dealt out to a batch of others, all
    groups together make one product.
    """
    a = left.shape if len(left.shape) > 1 else (1, *left.shape)
    b = right.shape if len(right.shape) > 1 else (*right.shape, 1)
    return _Sizes(a[-2], a[-1], b[-1], a[0] if len(a) == len(b) == 3 else 1)


def _product(lowering: Lowering, op: Op, left: Tensor, right: Tensor) -> Made:
    if op.stage is Stage.BP:
        return _backward(lowering, op, left, right)
    output = lowering.outputs(op)[0]
    operand = Operand(Role.ACTIVATION, output.elements, output.index)
    return lowering.forward_product(
        op, _sizes(left, right), left, right, operand, suffix=_suffix(lowering, left, right, output)
    )


def _suffix(lowering: Lowering, left: Tensor, right: Tensor, output: Tensor) -> str:
    """Which product of an attention it is, if no weight takes part."""
    analysis = lowering.analysis
    if analysis.weight[left.index] is not None or analysis.weight[right.index] is not None:
        return ""
    if analysis.after_softmax[left.index] or analysis.after_softmax[right.index]:
        return ":pv"
    return ":qk" if analysis.before_softmax[output.index] else ":matmul"


def _backward(lowering: Lowering, op: Op, left: Tensor, right: Tensor) -> Made:
    output = lowering.outputs(op)[0]
    sizes = _sizes(left, right)
    first, second = lowering.operand(left), lowering.operand(right)
    match = _match(lowering, op, first, second)
    if match is None:
        stage, saved_is_left, name, parameter = _unmatched(lowering, op, first, second, output)
    else:
        forward, saved_is_left, gradient_of_right = match
        stage = Stage.WU if gradient_of_right and forward.has_weight else Stage.BP
        name, parameter = forward.layer, forward.right.parameter
    saved, gradient = (left, right) if saved_is_left else (right, left)
    m, k, n, batch = sizes
    weight = Role.WEIGHT if lowering.analysis.weight[saved.index] is not None else Role.ACTIVATION
    if stage is Stage.WU:
        ends = lowering.operand(saved, Role.ACTIVATION), lowering.operand(gradient, Role.GRADIENT)
        swap = not saved_is_left
        result = Operand(Role.WEIGHT, output.elements, output.index, parameter)
    else:
        ends = lowering.operand(gradient, Role.GRADIENT), lowering.operand(saved, weight)
        swap = saved_is_left
        result = Operand(Role.GRADIENT, output.elements, output.index)
    return lowering.emit(
        Product(
            name=name,
            stage=stage,
            op=op.name,
            m=n if swap else m,
            k=k,
            n=m if swap else n,
            batch=batch,
            left=ends[0],
            right=ends[1],
            output=result,
            inputs=lowering.waits_for((gradient.index, saved.index)),
        ),
        op.outputs,
    )


def _match(
    lowering: Lowering, op: Op, first: Operand, second: Operand
) -> tuple[ForwardProduct, bool, bool] | None:
    """The forward product, whether its saved operand is on the left here, and was on its left.

    A backward product multiplies the output's gradient with one operand of its forward product:
    with the left one to make the gradient of the right one, and the other way round.
    """
    for forward in lowering.forward_of(op):
        for saved_is_left, operand in ((True, first), (False, second)):
            if operand.tensor == forward.right.tensor:
                return forward, saved_is_left, False
            if operand.tensor == forward.left.tensor:
                return forward, saved_is_left, True
    return None


def _unmatched(
    lowering: Lowering, op: Op, first: Operand, second: Operand, output: Tensor
) -> tuple[Stage, bool, str, str]:
    """Stage, whether the left operand is the saved one, name and parameter, by roles alone."""
    saved_is_left = second.role is Role.GRADIENT and first.role is not Role.GRADIENT
    weight = Role.WEIGHT in (first.role, second.role)
    target = lowering.analysis.gradient_of[output.index]
    parameter = ""
    if target is not None and not weight:
        parameter = lowering.graph.parameters[target].name
    layers = lowering.forward_of(op)
    name = layers[0].layer if layers else lowering.layer(op, parameter)
    return (Stage.WU if parameter else Stage.BP), saved_is_left, name, parameter
