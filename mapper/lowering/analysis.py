"""What flows where in a training graph: weights, views, softmaxes, parameter gradients."""

from __future__ import annotations

from weft.mapper.tracing.graph import Op, TrainingGraph
from weft.sim.workload import Stage

__all__ = ["CASTS", "PRODUCTS", "SOFTMAXES", "Analysis"]

CASTS = frozenset({"_to_copy", "clone", "contiguous", "copy", "to", "lift_fresh_copy"})
"""Ops that make a tensor with the same values elsewhere or in another type."""

SOFTMAXES = frozenset({"_softmax", "_safe_softmax", "_log_softmax"})

PRODUCTS = frozenset(
    {
        "mm", "addmm", "bmm", "baddbmm", "addbmm", "_scaled_mm", "_grouped_mm",
        "mv", "addmv", "dot", "vdot",
        "convolution", "convolution_backward", "_convolution", "convolution_overrideable",
    }
)  # fmt: skip
"""Ops that are matrix products and nothing else."""

# What may stand between the scores of an attention and its softmax, or after it.
_PASSES_SCORES = frozenset(
    {
        "mul", "mul_", "div", "div_", "add", "add_", "sub", "masked_fill", "masked_fill_",
        "where", "native_dropout", "bernoulli_", "tanh", "maximum", "slice", "cat",
    }
) | CASTS  # fmt: skip
_RANDOM = ("rand", "bernoulli", "uniform", "normal", "dropout", "multinomial", "exponential")
_PICKS = frozenset({"index", "index_select", "gather"})
_REDUCES = frozenset({"sum", "sum_to_size", "mean"})
_ACCUMULATES = frozenset(
    {"add", "add_", "mul", "mul_", "div", "div_", "neg", "copy_", "cat", "index_put", "index_put_"}
)


class Analysis:
    """Facts about each tensor of a graph, by tensor index.

    ``base``: the tensor behind views and casts. ``weight``: the parameter (index in
    ``graph.parameters``) that a tensor is made of when nothing but parameters, buffers and
    constants went into it; None otherwise. ``after_softmax``, ``before_softmax``: a softmax lies
    directly behind or ahead. ``gradient_of``: the parameter whose gradient it becomes through
    views, casts, sums and accumulation; None otherwise. ``known_to_host``: what only whole numbers
    given to the step, buffers and constants went into, so that the host can work it out before.
    ``only_gradients``, by op index: backward ops that are no products and whose results end up in
    gradients of parameters and nowhere else.
    """

    def __init__(self, graph: TrainingGraph) -> None:
        count = len(graph.tensors)
        self.graph = graph
        self.base = list(range(count))
        self.weight: list[int | None] = [None] * count
        self.after_softmax = [False] * count
        self.before_softmax = [False] * count
        self.gradient_of: list[int | None] = [None] * count
        self.known_to_host = [
            tensor.kind in ("buffer", "constant")
            or (tensor.kind == "input" and not tensor.is_floating)
            for tensor in graph.tensors
        ]
        self._constant = [tensor.kind in ("buffer", "constant") for tensor in graph.tensors]
        for position, parameter in enumerate(graph.parameters):
            self.weight[parameter.tensor] = position
            if parameter.gradient is not None:
                self.gradient_of[parameter.gradient] = position
        for op in graph.ops:
            self._forward(op)
            self._host(op)
        for op in reversed(graph.ops):
            self._backward(op)
        self.only_gradients = self._only_gradients()

    def _forward(self, op: Op) -> None:
        if op.stage is Stage.OPTIMIZER or not op.inputs:
            for output in op.outputs:
                self._constant[output] = not op.inputs
            return
        if op.view or op.name in CASTS:
            for output in op.outputs:
                self.base[output] = self.base[op.inputs[0]]
        softmax = op.name in SOFTMAXES or (
            (op.view or op.name in _PASSES_SCORES) and any(self.after_softmax[i] for i in op.inputs)
        )
        weight = self._made_of(op)
        constant = all(self._constant[i] for i in op.inputs)
        for output in op.outputs:
            self.after_softmax[output] = softmax
            self.weight[output] = weight
            self._constant[output] = constant

    def _host(self, op: Op) -> None:
        by_shape = op.name.endswith("_like") or op.name.startswith("new_")
        known = by_shape or all(self.known_to_host[i] for i in op.inputs)
        random = any(word in op.name for word in _RANDOM)
        for output in op.outputs:
            self.known_to_host[output] = known and not random

    def _made_of(self, op: Op) -> int | None:
        """The largest parameter among the inputs if they all are parameters or constants.

        Rows picked from a parameter (the experts of a mixture) are weights too, but the rows
        that an embedding picks are activations.
        """
        if op.name in PRODUCTS or op.name == "embedding":
            return None
        if op.name in _PICKS:
            return self.weight[op.inputs[0]]
        candidates: list[int] = []
        for index in op.inputs:
            weight = self.weight[index]
            if weight is not None:
                candidates.append(weight)
            elif not self._constant[index]:
                return None
        parameters = self.graph.parameters
        return max(candidates, key=lambda c: parameters[c].elements, default=None)

    def _backward(self, op: Op) -> None:
        if op.stage is Stage.FF:
            passes = op.view or op.name in _PASSES_SCORES
            if op.name in SOFTMAXES or (
                passes and any(self.before_softmax[output] for output in op.outputs)
            ):
                for index in op.inputs:
                    self.before_softmax[index] = True
        elif op.stage is Stage.BP and self._hands_gradient_on(op):
            ends = (self.gradient_of[output] for output in op.outputs)
            target = next((end for end in ends if end is not None), None)
            if target is not None:
                for index in op.inputs:
                    if self.gradient_of[index] is None:
                        self.gradient_of[index] = target

    @staticmethod
    def _hands_gradient_on(op: Op) -> bool:
        return op.view or op.name in CASTS or op.name in _REDUCES or op.name in _ACCUMULATES

    def _only_gradients(self) -> list[bool]:
        count = len(self.graph.tensors)
        elsewhere, consumed = [False] * count, [False] * count
        final = {parameter.gradient for parameter in self.graph.parameters}
        result = [False] * len(self.graph.ops)
        for op in reversed(self.graph.ops):
            if op.stage is Stage.OPTIMIZER:
                continue
            used = [output for output in op.outputs if output in final or consumed[output]]
            result[op.index] = (
                op.stage is Stage.BP
                and op.name not in PRODUCTS
                and bool(used)
                and not any(elsewhere[output] for output in used)
            )
            for index in op.inputs:
                consumed[index] = True
                elsewhere[index] = elsewhere[index] or not result[op.index]
        return result
