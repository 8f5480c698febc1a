"""Fused scaled-dot-product attention: two products forward, five backward.

The fused kernels do not keep the scores, so their backward computes them again; so counts
``torch.utils.flop_counter``. Scores never reach memory, hence softmax reads and writes nothing.
"""

from __future__ import annotations

from weft.mapper.graph import Op, Tensor
from weft.mapper.lowering.context import Lowering
from weft.mapper.lowering.registry import lowers
from weft.sim.workload import Operand, Product, Role, Stage, VectorOp

__all__: list[str] = []

_SOFTMAX_PASSES = 6
_SOFTMAX_BACKWARD_PASSES = 5


@lowers(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)
def _forward(lowering: Lowering, op: Op) -> None:
    query, key, value = (lowering.tensor(argument) for argument in op.arguments[:3])
    heads, rows, columns = _heads(query), query.shape[-2], key.shape[-2]
    name = lowering.layer(op, "", ":qk")
    values = f"{name.replace(':qk', ':pv', 1)}"
    scores = Operand(Role.ACTIVATION, heads * rows * columns)
    output = lowering.outputs(op)[0]
    first = lowering.emit(
        Product(
            name=name,
            stage=Stage.FF,
            op="attention",
            m=rows,
            k=query.shape[-1],
            n=columns,
            batch=heads,
            left=lowering.operand(query, Role.ACTIVATION),
            right=lowering.operand(key, Role.ACTIVATION),
            output=scores,
            inputs=lowering.waits_for((query.index, key.index)),
        ),
        (),
    )
    softmax = lowering.emit(_softmax(name, Stage.FF, scores.elements, first), ())
    lowering.emit(
        Product(
            name=values,
            stage=Stage.FF,
            op="attention",
            m=rows,
            k=columns,
            n=value.shape[-1],
            batch=heads,
            left=scores,
            right=lowering.operand(value, Role.ACTIVATION),
            output=Operand(Role.ACTIVATION, output.elements, output.index),
            inputs=(softmax, *lowering.waits_for((value.index,))),
        ),
        op.outputs,
    )


@lowers(
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_efficient_attention_backward",
    "_scaled_dot_product_cudnn_attention_backward",
)
def _backward(lowering: Lowering, op: Op) -> None:
    gradient, query, key, value = (lowering.tensor(argument) for argument in op.arguments[:4])
    heads, rows, columns = _heads(query), query.shape[-2], key.shape[-2]
    depth, width = query.shape[-1], value.shape[-1]
    place = lowering.place(op)
    scores = Operand(Role.ACTIVATION, heads * rows * columns)
    score_gradient = Operand(Role.GRADIENT, scores.elements)
    outputs = lowering.outputs(op)
    ends = {
        "q": lowering.operand(query, Role.ACTIVATION),
        "k": lowering.operand(key, Role.ACTIVATION),
        "v": lowering.operand(value, Role.ACTIVATION),
        "dy": lowering.operand(gradient, Role.GRADIENT),
    }

    def product(
        suffix: str,
        sizes: tuple[int, int, int],
        left: Operand,
        right: Operand,
        output: Operand,
        inputs: tuple[int, ...],
    ) -> int:
        m, k, n = sizes
        item = Product(
            name=f"{place}:{suffix}",
            stage=Stage.BP,
            op="attention_backward",
            m=m,
            k=k,
            n=n,
            batch=heads,
            left=left,
            right=right,
            output=output,
            inputs=inputs,
        )
        return lowering.emit(item, (output.tensor,) if output.tensor >= 0 else ())

    def made(tensor: Tensor) -> Operand:
        return Operand(Role.GRADIENT, tensor.elements, tensor.index)

    saved = lowering.waits_for((query.index, key.index))
    incoming = lowering.waits_for((gradient.index, value.index))
    again = product("qk", (rows, depth, columns), ends["q"], ends["k"], scores, saved)
    softmax = lowering.emit(_softmax(f"{place}:qk", Stage.BP, scores.elements, again), ())
    product("pv_dv", (columns, rows, width), scores, ends["dy"], made(outputs[2]),
            (softmax, *incoming[:1]))  # fmt: skip
    dp = product("pv_dp", (rows, width, columns), ends["dy"], ends["v"], score_gradient, incoming)
    ds = lowering.emit(
        VectorOp(
            name=f"{place}:qk",
            stage=Stage.BP,
            op="softmax_backward",
            elements=scores.elements,
            reads=0,
            writes=0,
            passes=_SOFTMAX_BACKWARD_PASSES,
            inputs=(dp, softmax),
        ),
        (),
    )
    product("qk_dq", (rows, columns, depth), score_gradient, ends["k"], made(outputs[0]), (ds,))
    product("qk_dk", (columns, rows, depth), score_gradient, ends["q"], made(outputs[1]), (ds,))
    for extra in outputs[3:]:
        lowering.emit(
            VectorOp(
                name=f"{place}:bias",
                stage=Stage.BP,
                op="bias_gradient",
                elements=scores.elements,
                reads=scores.elements,
                writes=extra.elements,
                inputs=(ds,),
            ),
            (extra.index,),
        )


def _heads(query: Tensor) -> int:
    """Independent products: samples times query heads."""
    heads = 1
    for size in query.shape[:-2]:
        heads *= size
    return heads


def _softmax(name: str, stage: Stage, elements: int, scores: int) -> VectorOp:
    return VectorOp(
        name=name,
        stage=stage,
        op="softmax",
        elements=elements,
        reads=0,
        writes=0,
        passes=_SOFTMAX_PASSES,
        inputs=(scores,),
    )
