"""Fused scaled-dot-product attention: two products forward, five backward.

The fused kernels do not keep the scores, so their backward computes them again; so counts
``torch.utils.flop_counter``. Scores never reach memory, hence softmax reads and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from weft.mapper.lowering.context import Lowering
from weft.mapper.lowering.registry import lowers
from weft.mapper.lowering.table import SWEEPS, Sweep
from weft.mapper.tracing.graph import Op, Tensor
from weft.sim.workload import Operand, Product, Role, Stage, VectorOp

__all__: list[str] = []

_SOFTMAX, _SOFTMAX_BACKWARD = SWEEPS["_softmax"], SWEEPS["_softmax_backward_data"]


@lowers(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)
def _forward(lowering: Lowering, op: Op) -> None:
    query, key, value = (lowering.tensor(argument) for argument in op.arguments[:3])
    sizes = _Sizes.of(query, key, value)
    name = lowering.layer(op, "", ":qk")
    output = lowering.outputs(op)[0]
    chain = _Chain(lowering, Stage.FF, "attention", sizes.heads)
    scores = Operand(Role.ACTIVATION, sizes.scores)
    left, right, last = (lowering.operand(t, Role.ACTIVATION) for t in (query, key, value))
    waits = lowering.waits_for((query.index, key.index))
    first = chain.product(
        name, (sizes.rows, sizes.depth, sizes.columns), left, right, scores, waits
    )
    softmax = chain.vector(name, "softmax", sizes, _SOFTMAX, first)
    chain.product(
        name.replace(":qk", ":pv"),
        (sizes.rows, sizes.columns, sizes.width),
        scores,
        last,
        Operand(Role.ACTIVATION, output.elements, output.index),
        (*softmax, *lowering.waits_for((value.index,))),
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
    sizes = _Sizes.of(query, key, value)
    rows, columns, depth, width = sizes.rows, sizes.columns, sizes.depth, sizes.width
    place = lowering.place(op)
    chain = _Chain(lowering, Stage.BP, "attention_backward", sizes.heads)
    q, k, v = (lowering.operand(tensor, Role.ACTIVATION) for tensor in (query, key, value))
    dy = lowering.operand(gradient, Role.GRADIENT)
    scores, ds = Operand(Role.ACTIVATION, sizes.scores), Operand(Role.GRADIENT, sizes.scores)
    dq, dk, dv, *extras = (
        Operand(Role.GRADIENT, tensor.elements, tensor.index) for tensor in lowering.outputs(op)
    )
    saved = lowering.waits_for((query.index, key.index))
    incoming = lowering.waits_for((gradient.index, value.index))

    again = chain.product(f"{place}:qk", (rows, depth, columns), q, k, scores, saved)
    softmax = chain.vector(f"{place}:qk", "softmax", sizes, _SOFTMAX, again)
    after = (*softmax, *lowering.waits_for((gradient.index,)))
    chain.product(f"{place}:pv_dv", (columns, rows, width), scores, dy, dv, after)
    dp = chain.product(f"{place}:pv_dp", (rows, width, columns), dy, v, ds, incoming)
    back = chain.vector(
        f"{place}:qk", "softmax_backward", sizes, _SOFTMAX_BACKWARD, (*dp, *softmax)
    )
    chain.product(f"{place}:qk_dq", (rows, columns, depth), ds, k, dq, back)
    chain.product(f"{place}:qk_dk", (columns, rows, depth), ds, q, dk, back)
    for extra in extras:
        chain.vector(f"{place}:bias", "bias_gradient", sizes, Sweep(1), back, extra)


@dataclass(frozen=True)
class _Sizes:
    """Query rows, key columns, depth of a query, width of a value, over all samples and heads."""

    heads: int
    rows: int
    columns: int
    depth: int
    width: int

    @classmethod
    def of(cls, query: Tensor, key: Tensor, value: Tensor) -> _Sizes:
        heads = prod(query.shape[:-2])
        return cls(heads, query.shape[-2], key.shape[-2], query.shape[-1], value.shape[-1])

    @property
    def scores(self) -> int:
        return self.heads * self.rows * self.columns


@dataclass(frozen=True)
class _Chain:
    """Emits the parts of one fused op."""

    lowering: Lowering
    stage: Stage
    op: str
    heads: int

    def product(
        self,
        name: str,
        sizes: tuple[int, int, int],
        left: Operand,
        right: Operand,
        output: Operand,
        inputs: tuple[int, ...],
        makes: tuple[int, ...] = (),
    ) -> tuple[int, ...]:
        m, k, n = sizes
        item = Product(
            name=name,
            stage=self.stage,
            op=self.op,
            m=m,
            k=k,
            n=n,
            batch=self.heads,
            left=left,
            right=right,
            output=output,
            inputs=inputs,
        )
        made = makes or (() if output.tensor is None else (output.tensor,))
        return self.lowering.emit(item, made).positions

    def vector(
        self,
        name: str,
        op: str,
        sizes: _Sizes,
        sweep: Sweep,
        inputs: tuple[int, ...],
        output: Operand | None = None,
    ) -> tuple[int, ...]:
        """An op on scores that stay on chip, and what it writes, if it does."""
        item = VectorOp(
            name=name,
            stage=self.stage,
            op=op,
            elements=sizes.scores,
            reads=0,
            writes=0 if output is None else output.elements,
            passes=sweep.passes,
            inputs=inputs,
            rows=sizes.heads * sizes.rows if sweep.programs else 0,
            programs=sweep.programs,
        )
        made = () if output is None else (output.tensor,)
        return self.lowering.emit(item, made).positions
