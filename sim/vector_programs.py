"""Vector ops as programs for the lanes of WUVE, by PyTorch's names.

The length of a program is what the simulator charges for the op. Formulas are in FP32 and hold for
operands that are FP16; elementary functions have the errors of ``weft.sim.functions``. exp is
2^(x log2 e); normal tails (erf, gelu) are Mills' ratio times the density, so small ones keep their
relative precision.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weft.sim.functions import Function
from weft.sim.lanes import Emit, Kernel, LaneError, LaneProgram, Over, Value
from weft.sim.machine import Wuve
from weft.sim.program import Vector, Window

__all__ = [
    "ELEMENTWISE",
    "OPTIMIZERS",
    "PROGRAMS",
    "ROWS",
    "Formula",
    "compile_program",
    "vector_work",
]

LOG2_E = math.log2(math.e)
LN_2 = math.log(2)
LEAST = -65504.0
"""The lowest FP16: where sums of exponentials begin, so that rows of -inf have an empty sum."""


@dataclass(frozen=True)
class Formula:
    """How a program is made: ``build(kernel, *constants)``; constants left out are the defaults.

    A round has ``inputs`` operands; a row has ``words``, of the strip if ``by_strip``.
    """

    build: Callable[..., None]
    inputs: int
    overs: tuple[Over, ...] = (Over.EACH,)
    words: int = 0
    by_strip: bool = False
    planar: bool = False


def _exp(k: Kernel, x: Value, scale: float = 1.0) -> Value:
    return k.function(Function.EXP2, x * (LOG2_E * scale))


def _reciprocal(k: Kernel, x: Value) -> Value:
    return k.function(Function.RECIPROCAL, x)


def _divide(k: Kernel, a: Value, b: Value) -> Value:
    return a * _reciprocal(k, b)


def _log2(k: Kernel, x: Value) -> Value:
    return k.function(Function.LOG2, x)


def _sqrt(k: Kernel, x: Value) -> Value:
    return _reciprocal(k, k.function(Function.RSQRT, x))


def _sigmoid(k: Kernel, x: Value) -> Value:
    return _reciprocal(k, _exp(k, x, -1.0) + 1.0)


def _softplus(k: Kernel, x: Value) -> Value:
    """max(x, 0) + log(1 + exp(-|x|))."""
    tail = _log2(k, k.function(Function.EXP2, k.mad(abs(x), -LOG2_E, -0.0)) + 1.0)
    return k.mad(tail, LN_2, k.max(x, 0.0))


def _round(k: Kernel, x: Value) -> Value:
    """The nearest whole number, of two the even one; for sizes below 2^22."""
    return (x + 1.5 * 2.0**23) - 1.5 * 2.0**23


def _floor(k: Kernel, x: Value) -> Value:
    near = _round(k, x)
    return near - k.less(x, near)


def _trunc(k: Kernel, x: Value) -> Value:
    size = k.copy(abs(x))
    down = _floor(k, size)
    return k.pick(x, down, -down)


def _tail(k: Kernel, x: Value) -> tuple[Value, Value]:
    """The normal distribution beyond |x|, and e^(-x^2 / 2)."""
    bell = k.function(Function.EXP2, (x * x) * (-LOG2_E / 2))
    return k.function(Function.MILLS, abs(x)) * bell, bell


def _phi(k: Kernel, x: Value) -> tuple[Value, Value]:
    """The normal distribution up to x, and e^(-x^2 / 2)."""
    tail, bell = _tail(k, x)
    return k.pick(x, 1.0 - tail, tail), bell


def _erfc(k: Kernel, x: Value, *, complement: bool) -> Value:
    wide = x * math.sqrt(2)
    twice = _tail(k, wide)[0] * 2.0
    if complement:
        return k.pick(wide, twice, 2.0 - twice)
    inside = 1.0 - twice
    return k.pick(wide, inside, -inside)


def _hard_sigmoid(k: Kernel, x: Value) -> Value:
    return k.min(k.max(x + 3.0, 0.0), 6.0) * (1 / 6)


def _hard_swish_backward(k: Kernel) -> Value:
    x = k.input(1)
    inside = k.pick(x + 3.0, x * (1 / 3) + 0.5, 0.0)
    return k.pick(x - 3.0, 1.0, inside) * k.input(0)


def _mish_parts(k: Kernel, x: Value) -> Value:
    return k.function(Function.TANH, _softplus(k, x))


def _inside(k: Kernel, x: Value, low: float, high: float) -> Value:
    return k.less(low, x) * k.less(x, high)


def _normal(k: Kernel) -> Value:
    """Box and Muller (1958)."""
    radius = _sqrt(k, _log2(k, 2.0 - k.random()) * (-2 * LN_2))
    return radius * k.function(Function.SINE, k.random())


Maker = Callable[..., "Value | float"]


def _native_dropout(k: Kernel, p: float = 0.1) -> Value:
    kept = k.less(p + 1.0, k.random())
    return (k.input(0) * kept) * (1 / (1 - p))


def _silu_backward(k: Kernel) -> Value:
    x = k.input(1)
    gate = _sigmoid(k, x)
    return k.mad(gate, k.mad(-x, gate, x), gate) * k.input(0)


def _gelu_backward(k: Kernel) -> Value:
    x = k.input(1)
    up_to, bell = _phi(k, x)
    return k.mad(x * bell, 1 / math.sqrt(2 * math.pi), up_to) * k.input(0)


def _mish_backward(k: Kernel) -> Value:
    x = k.input(1)
    curve = _mish_parts(k, x)
    rest = (k.mad(-curve, curve, 1.0) * _sigmoid(k, x)) * x
    return (rest + curve) * k.input(0)


def _huber(k: Kernel, delta: float = 1.0) -> Value:
    apart = k.input(0) - k.input(1)
    size = k.copy(abs(apart))
    near = k.min(size, delta)
    return near * k.mad(near, -0.5, size)


def _huber_backward(k: Kernel, delta: float = 1.0, scale: float = 1.0) -> Value:
    apart = k.input(0) - k.input(1)
    return (k.max(k.min(apart, delta), -delta) * k.input(2)) * scale


def _cross_entropy(k: Kernel) -> Value:
    p, y = k.input(0), k.input(1)
    no = _log2(k, 1.0 - p)
    return k.mad(y, _log2(k, p) - no, no) * -LN_2


def _cross_entropy_backward(k: Kernel) -> Value:
    p = k.input(0)
    apart = p - k.input(1)
    return (apart * _reciprocal(k, k.mad(-p, p, p))) * k.input(2)


def _logaddexp(k: Kernel) -> Value:
    apart = k.input(0) - k.input(1)
    tail = _log2(k, k.function(Function.EXP2, k.mad(abs(apart), -LOG2_E, -0.0)) + 1.0)
    return k.mad(tail, LN_2, k.max(k.input(0), k.input(1)))


def _where(k: Kernel) -> Value:
    below = k.copy(k.input(2))
    return k.pick(k.input(0), k.input(1), below)


def _glu_backward(k: Kernel) -> Value:
    """The gradient of the gate; that of the gated half is ``_glu`` of the gradient."""
    gate = _sigmoid(k, k.input(1))
    slope = k.mad(-gate, gate, gate) * k.input(0)
    return slope * k.input(2)


def _remainder(k: Kernel) -> Value:
    b = k.copy(k.input(1))
    a = k.copy(k.input(0))
    return k.mad(-_floor(k, _divide(k, a, b)), b, a)


def _fmod(k: Kernel) -> Value:
    b = k.copy(k.input(1))
    a = k.copy(k.input(0))
    return k.mad(-_trunc(k, _divide(k, a, b)), b, a)


def _elementwise() -> dict[str, tuple[int, Maker]]:
    """Operands and formula of every op that works element by element."""
    made: dict[str, tuple[int, Maker]] = {}

    def add(names: str, inputs: int, maker: Maker) -> None:
        made.update(dict.fromkeys(names.split(), (inputs, maker)))

    i = Kernel.input
    add(
        "copy _to_copy clone lift_fresh lift_fresh_copy _conj_physical",
        1,
        lambda k: k.copy(i(k, 0)),
    )
    add("fill zero", 0, lambda k, value=0.0: k.copy(value))
    add("add", 2, lambda k, alpha=1.0: k.mad(i(k, 1), alpha, i(k, 0)))
    add("sub", 2, lambda k, alpha=1.0: k.mad(i(k, 1), -alpha, i(k, 0)))
    add("rsub", 2, lambda k: i(k, 1) - i(k, 0))
    add("mul bitwise_and logical_and triu tril", 2, lambda k: i(k, 0) * i(k, 1))
    add("neg", 1, lambda k: k.copy(-i(k, 0)))
    add("abs", 1, lambda k: k.copy(abs(i(k, 0))))
    add("square", 1, lambda k: i(k, 0) * i(k, 0))
    add("maximum bitwise_or logical_or", 2, lambda k: k.max(i(k, 0), i(k, 1)))
    add("minimum", 2, lambda k: k.min(i(k, 0), i(k, 1)))
    add("clamp hardtanh", 1, lambda k, low=-1.0, high=1.0: k.min(k.max(i(k, 0), low), high))
    add("clamp_min", 1, lambda k, low=0.0: k.max(i(k, 0), low))
    add("clamp_max", 1, lambda k, high=0.0: k.min(i(k, 0), high))
    add("relu", 1, lambda k: k.max(i(k, 0), 0.0))
    add("threshold", 1, lambda k, at=0.0, value=0.0: k.pick(i(k, 0) - at, i(k, 0), value))
    add("threshold_backward", 2, lambda k: k.pick(i(k, 1), i(k, 0), 0.0))
    add("where", 3, _where)
    add("masked_fill", 2, lambda k, value=0.0: k.pick(i(k, 1), value, i(k, 0)))
    add("bitwise_not logical_not", 1, lambda k: 1.0 - i(k, 0))
    add("bitwise_xor logical_xor", 2, lambda k: k.copy(abs(i(k, 0) - i(k, 1))))
    add("bitwise_left_shift", 2, lambda k: k.function(Function.EXP2, i(k, 1)) * i(k, 0))
    add(
        "bitwise_right_shift", 2, lambda k: _floor(k, k.function(Function.EXP2, -i(k, 1)) * i(k, 0))
    )
    add("eq", 2, lambda k: k.equal(i(k, 0), i(k, 1)))
    add("ne", 2, lambda k: 1.0 - k.equal(i(k, 0), i(k, 1)))
    add("lt", 2, lambda k: k.less(i(k, 0), i(k, 1)))
    add("gt", 2, lambda k: k.less(i(k, 1), i(k, 0)))
    add("le", 2, lambda k: k.less(i(k, 0), i(k, 1)) + k.equal(i(k, 0), i(k, 1)))
    add("ge", 2, lambda k: k.less(i(k, 1), i(k, 0)) + k.equal(i(k, 0), i(k, 1)))
    add("isnan", 1, lambda k: 1.0 - k.equal(i(k, 0), i(k, 0)))
    add("isinf", 1, lambda k: k.equal(abs(i(k, 0)), math.inf))
    add("isfinite", 1, lambda k: k.less(abs(i(k, 0)), math.inf))
    add("signbit", 1, lambda k: k.less(i(k, 0), 0.0))
    add("sign sgn", 1, lambda k: k.less(0.0, i(k, 0)) - k.less(i(k, 0), 0.0))
    add("heaviside", 2, lambda k: k.less(0.0, i(k, 0)) + k.equal(i(k, 0), 0.0) * i(k, 1))
    add("floor", 1, lambda k: _floor(k, i(k, 0)))
    add("ceil", 1, lambda k: k.copy(-_floor(k, -i(k, 0))))
    add("round", 1, lambda k: _round(k, i(k, 0)))
    add("trunc", 1, lambda k: _trunc(k, i(k, 0)))
    add(
        "nan_to_num",
        1,
        lambda k: k.max(k.min(k.pick(k.equal(i(k, 0), i(k, 0)), i(k, 0), 0.0), -LEAST), LEAST),
    )
    add("exp", 1, lambda k: _exp(k, i(k, 0)))
    add("expm1", 1, lambda k: _exp(k, i(k, 0)) - 1.0)
    add("log", 1, lambda k: _log2(k, i(k, 0)) * LN_2)
    add("log2", 1, lambda k: _log2(k, i(k, 0)))
    add("log10", 1, lambda k: _log2(k, i(k, 0)) * math.log10(2))
    add("log1p", 1, lambda k: _log2(k, i(k, 0) + 1.0) * LN_2)
    add("tanh", 1, lambda k: k.function(Function.TANH, i(k, 0)))
    add("sigmoid", 1, lambda k: _sigmoid(k, i(k, 0)))
    add("erf", 1, lambda k: _erfc(k, i(k, 0), complement=False))
    add("erfc", 1, lambda k: _erfc(k, i(k, 0), complement=True))
    add("sqrt", 1, lambda k: _sqrt(k, i(k, 0)))
    add("rsqrt", 1, lambda k: k.function(Function.RSQRT, i(k, 0)))
    add("reciprocal", 1, lambda k: _reciprocal(k, i(k, 0)))
    add("sin", 1, lambda k: k.function(Function.SINE, i(k, 0) * (0.5 / math.pi)))
    add("cos", 1, lambda k: k.function(Function.SINE, i(k, 0) * (0.5 / math.pi) + 0.25))
    add("tan", 1, lambda k: _tan(k, i(k, 0) * (0.5 / math.pi)))
    add("bernoulli", 0, lambda k, p=0.5: k.less(k.random(), p + 1.0))
    add("uniform", 0, lambda k: k.random() - 1.0)
    add("random", 0, lambda k, span=2.0: _floor(k, (k.random() - 1.0) * span))
    add("normal", 0, lambda k, mean=0.0, deviation=1.0: _normal(k) * deviation + mean)
    add("exponential", 0, lambda k, rate=1.0: _log2(k, 2.0 - k.random()) * (-LN_2 / rate))
    add("native_dropout", 1, _native_dropout)
    add("native_dropout_backward", 2, lambda k, scale=1.0: (i(k, 0) * i(k, 1)) * scale)
    add("div", 2, lambda k: _divide(k, i(k, 0), i(k, 1)))
    add("floor_divide", 2, lambda k: _floor(k, _divide(k, i(k, 0), i(k, 1))))
    add("remainder", 2, _remainder)
    add("fmod", 2, _fmod)
    add("addcmul", 3, lambda k, value=1.0: k.mad(i(k, 0) * i(k, 1), value, i(k, 2)))
    add("addcdiv", 3, lambda k, value=1.0: k.mad(_divide(k, i(k, 0), i(k, 1)), value, i(k, 2)))
    add("lerp", 2, lambda k, weight=0.5: k.mad(i(k, 1) - i(k, 0), weight, i(k, 0)))
    add("pow", 1, lambda k, power=2.0: k.function(Function.EXP2, _log2(k, i(k, 0)) * power))
    add(
        "xlogy",
        2,
        lambda k: k.pick(k.equal(i(k, 0), 0.0), 0.0, (_log2(k, i(k, 1)) * i(k, 0)) * LN_2),
    )
    add("logaddexp", 2, _logaddexp)
    add("leaky_relu", 1, lambda k, slope=0.01: k.pick(i(k, 0), i(k, 0), i(k, 0) * slope))
    add("leaky_relu_backward", 2, lambda k, slope=0.01: k.pick(i(k, 1), i(k, 0), i(k, 0) * slope))
    add(
        "hardtanh_backward",
        2,
        lambda k, low=-1.0, high=1.0: _inside(k, i(k, 1), low, high) * i(k, 0),
    )
    add("hardsigmoid", 1, lambda k: _hard_sigmoid(k, i(k, 0)))
    add("hardsigmoid_backward", 2, lambda k: (_inside(k, i(k, 1), -3.0, 3.0) * i(k, 0)) * (1 / 6))
    add("hardswish", 1, lambda k: _hard_sigmoid(k, i(k, 0)) * i(k, 0))
    add("hardswish_backward", 2, _hard_swish_backward)
    add("mse_loss", 2, lambda k: _squared(i(k, 0) - i(k, 1)))
    add("mse_loss_backward", 3, lambda k, scale=2.0: ((i(k, 0) - i(k, 1)) * scale) * i(k, 2))
    add("smooth_l1_loss huber_loss", 2, _huber)
    add("smooth_l1_loss_backward huber_loss_backward", 3, _huber_backward)
    add("prelu _prelu_kernel", 2, lambda k: k.pick(i(k, 0), i(k, 0), i(k, 0) * i(k, 1)))
    add("_prelu_kernel_backward", 4, lambda k: k.pick(i(k, 0), i(k, 1), i(k, 1) * k.copy(i(k, 2))))
    add("rrelu_with_noise", 2, lambda k: k.pick(i(k, 0), i(k, 0), i(k, 0) * i(k, 1)))
    add("tanh_backward", 2, lambda k: k.mad(-i(k, 1), i(k, 1), 1.0) * i(k, 0))
    add("sigmoid_backward", 2, lambda k: k.mad(-i(k, 1), i(k, 1), i(k, 1)) * i(k, 0))
    add("silu", 1, lambda k: _sigmoid(k, i(k, 0)) * i(k, 0))
    add("silu_backward", 2, _silu_backward)
    add(
        "elu celu",
        1,
        lambda k, alpha=1.0: k.pick(i(k, 0), i(k, 0), k.mad(_exp(k, i(k, 0)), alpha, -alpha)),
    )
    add(
        "selu",
        1,
        lambda k: (
            k.pick(i(k, 0), i(k, 0), k.mad(_exp(k, i(k, 0)), _SELU_ALPHA, -_SELU_ALPHA))
            * _SELU_SCALE
        ),
    )
    add(
        "elu_backward",
        2,
        lambda k, alpha=1.0: k.pick(i(k, 1), i(k, 0), (i(k, 1) + alpha) * i(k, 0)),
    )
    add("softplus", 1, lambda k: _softplus(k, i(k, 0)))
    add("softplus_backward", 2, lambda k: _sigmoid(k, i(k, 1)) * i(k, 0))
    add("log_sigmoid_forward", 1, lambda k: k.copy(-_softplus(k, -i(k, 0))))
    add("log_sigmoid_backward", 2, lambda k: _sigmoid(k, -i(k, 1)) * i(k, 0))
    add("logit", 1, lambda k: _log2(k, _divide(k, i(k, 0), 1.0 - i(k, 0))) * LN_2)
    add("logit_backward", 2, lambda k: _reciprocal(k, k.mad(-i(k, 1), i(k, 1), i(k, 1))) * i(k, 0))
    add("mish", 1, lambda k: _mish_parts(k, i(k, 0)) * i(k, 0))
    add("mish_backward", 2, _mish_backward)
    add("glu", 2, lambda k: _sigmoid(k, i(k, 1)) * i(k, 0))
    add("glu_backward", 3, _glu_backward)
    add("gelu", 1, lambda k: _phi(k, i(k, 0))[0] * i(k, 0))
    add("gelu_backward", 2, _gelu_backward)
    add("binary_cross_entropy", 2, _cross_entropy)
    add("binary_cross_entropy_backward", 3, _cross_entropy_backward)
    add(
        "binary_cross_entropy_with_logits",
        2,
        lambda k: k.mad(-i(k, 0), i(k, 1), _softplus(k, i(k, 0))),
    )
    return made


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _squared(x: Value) -> Value:
    return x * x


def _tan(k: Kernel, turns: Value) -> Value:
    sine = k.function(Function.SINE, turns)
    return _divide(k, sine, k.function(Function.SINE, turns + 0.25))


def _emitted(maker: Maker) -> Callable[..., None]:
    def build(k: Kernel, *constants: float) -> None:
        k.emit(maker(k, *constants))

    return build


ELEMENTWISE = {
    name: Formula(_emitted(maker), inputs) for name, (inputs, maker) in _elementwise().items()
}
"""Ops of which every element is on its own."""


# Rows. Sums come first, as one sweep; what is made of them in a second.


def _gather(k: Kernel, start: float, largest: bool, term: Callable[[], Value]) -> Value:
    """The row's sum or maximum of ``term``."""
    held = k.copy(start)
    with k.sweep():
        if largest:
            k.max(term(), held, held)
        else:
            k.mad(term(), 1.0, held, held)
    return k.reduced(held, largest)


def _two_sums(
    k: Kernel, terms: Callable[[Value, Value], None], partial: bool = False
) -> tuple[Value, Value]:
    """Two sums of one sweep; ``partial`` ones go on from the words 0 and 1 of the strip."""
    one, two = k.copy(0.0), k.copy(0.0)
    if partial:
        k.first(k.word(0), one)
        k.first(k.word(1), two)
    with k.sweep():
        terms(one, two)
    return k.reduced(one), k.reduced(two)


def _sum(k: Kernel, scale: float = 1.0) -> None:
    total = _gather(k, 0.0, False, lambda: k.input(0))
    _leave(k, total * scale if scale != 1.0 else total)


def _leave(k: Kernel, value: Value) -> None:
    """One number per row: packed where a slot is a row, one line where a lane is."""
    k.emit(value, Emit.ROW if k.over is Over.LANES else Emit.WORD)


def _largest(k: Kernel, sign: float = 1.0) -> None:
    x = k.input(0) if sign > 0 else -k.input(0)
    top = _gather(k, -math.inf, True, lambda: x)
    _leave(k, top if sign > 0 else k.copy(-top))


def _norm(k: Kernel) -> None:
    held = k.copy(0.0)
    with k.sweep():
        k.mad(k.input(0), k.input(0), held, held)
    _leave(k, _sqrt(k, k.reduced(held)))


def _moments(k: Kernel, count: float) -> tuple[Value, Value]:
    """Mean and variance of the row."""
    x = k.input(0)

    def terms(one: Value, two: Value) -> None:
        k.mad(x, 1.0, one, one)
        k.mad(x, x, two, two)

    total, squares = _two_sums(k, terms)
    mean = total * (1 / count)
    return mean, k.max(k.mad(-mean, mean, squares * (1 / count)), 0.0)


def _variance(k: Kernel, count: float = 1024.0, correction: float = 1.0) -> None:
    _, variance = _moments(k, count)
    _leave(k, variance * (count / (count - correction)))


def _deviation(k: Kernel, count: float = 1024.0, correction: float = 1.0) -> None:
    _, variance = _moments(k, count)
    _leave(k, _sqrt(k, variance * (count / (count - correction))))


def _layer_norm(k: Kernel, count: float = 1024.0, epsilon: float = 1e-5) -> None:
    mean, variance = _moments(k, count)
    scale = k.function(Function.RSQRT, variance + epsilon)
    shift = -mean * scale
    with k.sweep():
        k.emit(k.mad(k.mad(k.input(0), scale, shift), k.low(0), k.high(0)))


def _layer_norm_backward(k: Kernel, count: float = 1024.0, epsilon: float = 1e-5) -> None:
    """The input's gradient: (g w - mean(g w) - x' mean(g w x')) / deviation.

    Operands are x and g; the words hold w.
    """
    mean, variance = _moments(k, count)
    scale = k.function(Function.RSQRT, variance + epsilon)
    shift = -mean * scale
    x, g = k.input(0), k.input(1)

    def terms(one: Value, two: Value) -> None:
        weighted = g * k.low(0)
        k.mad(weighted, 1.0, one, one)
        k.mad(k.mad(x, scale, shift), weighted, two, two)

    total, turned = _two_sums(k, terms)
    rest, lean = (total * (1 / count)) * scale, (turned * (1 / count)) * scale
    with k.sweep():
        weighted = g * k.low(0)
        off = k.mad(k.mad(x, scale, shift), -lean, -rest)
        k.emit(k.mad(weighted, scale, off))


def _rms_norm(k: Kernel, count: float = 1024.0, epsilon: float = 1e-6) -> None:
    held = k.copy(0.0)
    with k.sweep():
        k.mad(k.input(0), k.input(0), held, held)
    scale = k.function(Function.RSQRT, k.reduced(held) * (1 / count) + epsilon)
    with k.sweep():
        k.emit((k.input(0) * scale) * k.low(0))


def _rms_norm_backward(k: Kernel, count: float = 1024.0, epsilon: float = 1e-6) -> None:
    """Operands are x and g; the words hold w."""
    x, g = k.input(0), k.input(1)

    def terms(one: Value, two: Value) -> None:
        k.mad(x, x, one, one)
        k.mad(g * k.low(0), x, two, two)

    squares, turned = _two_sums(k, terms)
    scale = k.function(Function.RSQRT, squares * (1 / count) + epsilon)
    lean = ((turned * (1 / count)) * scale) * (scale * scale)
    with k.sweep():
        k.emit(k.mad(g * k.low(0), scale, x * -lean))


def _batch_sums(k: Kernel) -> None:
    """Sum and sum of squares per channel, going on from the words."""
    x = k.input(0)

    def terms(one: Value, two: Value) -> None:
        k.mad(x, 1.0, one, one)
        k.mad(x, x, two, two)

    _leave_two(k, _two_sums(k, terms, partial=True))


def _leave_two(k: Kernel, sums: tuple[Value, Value]) -> None:
    for place, value in enumerate(sums):
        k.emit(value, Emit.WORD, place)


def _weight_sums(k: Kernel) -> None:
    """Sums of g and of g x' per channel, of g and x': gradients of a norm's shift and scale."""
    g, x = k.input(0), k.input(1)

    def terms(one: Value, two: Value) -> None:
        k.mad(g, 1.0, one, one)
        k.mad(g, x, two, two)

    _leave_two(k, _two_sums(k, terms, partial=True))


def _batch_scale(k: Kernel) -> None:
    """x scale + shift, both words of the channels."""
    scale, shift = k.copy(k.word(0)), k.copy(k.word(1))
    with k.sweep():
        k.emit(k.mad(k.input(0), scale, shift))


def _batch_sums_backward(k: Kernel) -> None:
    """Sums of g and of g x' per channel; the words 2 and 3 make x' of x."""
    x, g = k.input(0), k.input(1)
    scale, shift = k.copy(k.word(2)), k.copy(k.word(3))

    def terms(one: Value, two: Value) -> None:
        k.mad(g, 1.0, one, one)
        k.mad(k.mad(x, scale, shift), g, two, two)

    _leave_two(k, _two_sums(k, terms, partial=True))


def _batch_scale_backward(k: Kernel) -> None:
    """g a + x b + c with words a, b and c of the channels."""
    a, b, c = (k.copy(k.word(place)) for place in range(3))
    with k.sweep():
        k.emit(k.mad(k.input(0), b, k.mad(k.input(1), a, c)))


def _exponentials(k: Kernel, safe: bool) -> tuple[Value, Value]:
    """-max log2 e and the sum of exp(x - max)."""
    top = _gather(k, LEAST if safe else -math.inf, True, lambda: k.input(0))
    least = top * -LOG2_E
    held = k.copy(0.0)
    with k.sweep():
        k.mad(k.function(Function.EXP2, k.mad(k.input(0), LOG2_E, least)), 1.0, held, held)
    return least, k.reduced(held)


def _softmax(k: Kernel, safe: bool = False) -> None:
    least, total = _exponentials(k, safe)
    part = _reciprocal(k, total)
    if safe:
        part = k.pick(total, part, 0.0)
    with k.sweep():
        k.emit(k.function(Function.EXP2, k.mad(k.input(0), LOG2_E, least)) * part)


def _log_softmax(k: Kernel) -> None:
    least, total = _exponentials(k, False)
    off = k.mad(least, 1.0, -_log2(k, total)) * LN_2
    with k.sweep():
        k.emit(k.input(0) + off)


def _logsumexp(k: Kernel) -> None:
    least, total = _exponentials(k, False)
    _leave(k, k.mad(-least, 1.0, _log2(k, total)) * LN_2)


def _softmax_backward(k: Kernel) -> None:
    """y (g - sum(g y)) of g and y."""
    g, y = k.input(0), k.input(1)
    held = k.copy(0.0)
    with k.sweep():
        k.mad(g, y, held, held)
    total = k.reduced(held)
    with k.sweep():
        k.emit((g - total) * y)


def _log_softmax_backward(k: Kernel) -> None:
    """g - exp(y) sum(g) of g and y."""
    total = _gather(k, 0.0, False, lambda: k.input(0))
    with k.sweep():
        k.emit(k.mad(-_exp(k, k.input(1)), total, k.input(0)))


def _window(k: Kernel, start: float, rows: int, pitch: int, largest: bool) -> Value:
    """The largest, or the sum, of a window of ``rows`` rows ``pitch`` rounds apart."""
    held = k.copy(start)
    for row in range(rows):
        with k.sweep():
            if largest:
                k.max(k.input(0), held, held)
            else:
                k.mad(k.input(0), 1.0, held, held)
            k.displace(row * pitch)
    return held


def _max_pool(k: Kernel, rows: float = 1, pitch: float = 0) -> None:
    k.emit(_window(k, -math.inf, int(rows), int(pitch), True))


def _average_pool(k: Kernel, rows: float = 1, pitch: float = 0, count: float = 1.0) -> None:
    k.emit(_window(k, 0.0, int(rows), int(pitch), False) * (1 / count))


def _max_pool_places(k: Kernel, rows: float = 1, pitch: float = 0) -> None:
    """The largest of a window and its place there, the first of equal ones; NaN has no place."""
    held, best, place = k.copy(-math.inf), k.copy(0.0), k.copy(0.0)
    for row in range(int(rows)):
        with k.sweep():
            larger = k.less(held, k.input(0))
            k.displace(row * int(pitch))
            k.pick(larger, place, best, best)
            k.max(k.input(0), held, held)
            k.displace(row * int(pitch))
            k.mad(place, 1.0, 1.0, place)
    k.emit(held)
    k.emit(best)


def _max_pool_backward(k: Kernel, *windows: float) -> None:
    """The gradient of a pixel that lies in some windows, of g and the places of their largest.

    ``windows``: of each how many rounds on it lies, and the pixel's own place in it.
    """
    held = k.copy(0.0)
    for ahead, place in zip(windows[::2], windows[1::2], strict=True):
        here = k.copy(k.input(1))
        k.displace(int(ahead))
        held = k.mad(k.equal(here, place), k.input(0), held)
        k.displace(int(ahead))
    k.emit(held)


_ACROSS = (Over.LANES,)
_WHOLE = (Over.LANES, Over.ALL)
_ANY = (*_WHOLE, Over.SLOTS)
_FREE = (*_WHOLE, Over.APART)

ROWS: dict[str, Formula] = {
    **dict.fromkeys(("sum", "mean"), Formula(_sum, 1, _ANY)),
    **dict.fromkeys(("amax", "max", "any"), Formula(_largest, 1, _ANY)),
    **dict.fromkeys(("amin", "min", "all"), Formula(lambda k: _largest(k, -1.0), 1, _ANY)),
    **dict.fromkeys(("norm", "linalg_vector_norm"), Formula(_norm, 1, _ANY)),
    **dict.fromkeys(("var", "var_mean"), Formula(_variance, 1, _ANY)),
    **dict.fromkeys(("std", "std_mean"), Formula(_deviation, 1, _ANY)),
    "logsumexp": Formula(_logsumexp, 1, _WHOLE),
    "native_layer_norm": Formula(_layer_norm, 1, _ACROSS, words=1),
    "native_layer_norm_backward": Formula(_layer_norm_backward, 2, _ACROSS, words=1),
    "_fused_rms_norm": Formula(_rms_norm, 1, _ACROSS, words=1),
    "_fused_rms_norm_backward": Formula(_rms_norm_backward, 2, _ACROSS, words=1),
    "_softmax": Formula(_softmax, 1, _FREE),
    "_safe_softmax": Formula(lambda k: _softmax(k, True), 1, _FREE),
    "_log_softmax": Formula(_log_softmax, 1, _FREE),
    "_softmax_backward_data": Formula(_softmax_backward, 2, _FREE),
    "_log_softmax_backward_data": Formula(_log_softmax_backward, 2, _FREE),
    "batch_sums": Formula(_batch_sums, 1, (Over.SLOTS,), words=2, by_strip=True),
    "batch_scale": Formula(_batch_scale, 1, (Over.SLOTS,), words=2, by_strip=True),
    "batch_sums_backward": Formula(_batch_sums_backward, 2, (Over.SLOTS,), 4, True),
    "batch_scale_backward": Formula(_batch_scale_backward, 2, (Over.SLOTS,), 4, True),
    "weight_sums": Formula(_weight_sums, 2, (Over.SLOTS,), 2, True),
    "max_pool": Formula(_max_pool, 1, _ACROSS),
    "avg_pool": Formula(_average_pool, 1, _ACROSS),
    "max_pool_places": Formula(_max_pool_places, 1, _ACROSS),
    "max_pool_backward": Formula(_max_pool_backward, 2, _ACROSS),
}
"""Reductions, normalisations, softmax and pooling, and how their rows may lie."""


# Optimizer steps: the word 0 is the master weight, those after it the state; input 0 the gradient.


def _sgd(k: Kernel, rate: float = 0.1, momentum: float = 0.0, decay: float = 0.0) -> None:
    """d = g + decay w; w' = w - rate d, in the order of torch's SGD; no momentum."""
    del momentum
    weight = k.word(0)
    step = k.mad(weight, decay, k.input(0))
    k.emit(k.mad(step, -rate, weight), Emit.WORD, 0)


def _sgd_momentum(k: Kernel, rate: float = 0.1, momentum: float = 0.9, decay: float = 0.0) -> None:
    """d = g + decay w; v' = momentum v + d; w' = w - rate v'."""
    weight = k.word(0)
    step = k.mad(weight, decay, k.input(0))
    moved = k.mad(k.word(1), momentum, step)
    k.emit(moved, Emit.WORD, 1)
    k.emit(k.mad(moved, -rate, weight), Emit.WORD, 0)


def _moment_step(k: Kernel, gradient: Value, keep: float, blend: float, epsilon: float) -> Value:
    """m' = m + blend (g - m); v' = keep v + (1 - keep) g^2; m' / (sqrt(v') + epsilon)."""
    lose = float(np.float32(1) - np.float32(keep))
    first = k.mad(gradient - k.word(1), blend, k.word(1))
    k.emit(first, Emit.WORD, 1)
    second = k.mad(k.word(2), keep, (gradient * gradient) * lose)
    k.emit(second, Emit.WORD, 2)
    return first * _reciprocal(k, _sqrt(k, second) + epsilon)


def _adam(
    k: Kernel, decay: float = 0.01, keep: float = 0.999, rate: float = 1e-3, blend: float = 0.1,
    epsilon: float = 1e-8,
) -> None:  # fmt: skip
    """g' = g + decay w; w' = w - rate step, the bias corrections in rate and epsilon."""
    weight = k.word(0)
    gradient = k.mad(weight, decay, k.input(0))
    step = _moment_step(k, gradient, keep, blend, epsilon)
    k.emit(k.mad(step, -rate, weight), Emit.WORD, 0)


def _adamw(
    k: Kernel, decay: float = 0.99, keep: float = 0.999, rate: float = 1e-3, blend: float = 0.1,
    epsilon: float = 1e-8,
) -> None:  # fmt: skip
    """w' = decay w - rate step, the bias corrections in rate and epsilon."""
    step = _moment_step(k, k.input(0), keep, blend, epsilon)
    k.emit(k.mad(step, -rate, k.word(0) * decay), Emit.WORD, 0)


OPTIMIZERS = {
    "sgd": Formula(_sgd, 1, words=1, planar=True),
    "sgd-momentum": Formula(_sgd_momentum, 1, words=2, planar=True),
    "adam": Formula(_adam, 1, words=3, planar=True),
    "adamw": Formula(_adamw, 1, words=3, planar=True),
}
"""Optimizer steps; their constants are those of ``weft.sim.program.Update``."""

PROGRAMS = ELEMENTWISE | ROWS | OPTIMIZERS


@functools.cache
def compile_program(
    name: str,
    over: Over = Over.EACH,
    lanes: int = 4,
    slots: int = 16,
    constants: tuple[float, ...] = (),
) -> LaneProgram:
    """The lane operations of ``name`` on a machine of so many lanes and slots.

    Raises:
        LaneError: an unknown name, or rows that lie where the program does not look for them.
    """
    formula = PROGRAMS.get(name)
    if formula is None:
        raise LaneError(f"vector op {name!r} has no lane program")
    if over not in formula.overs:
        allowed = ", ".join(repr(str(way)) for way in formula.overs)
        raise LaneError(f"{name}: rows over {str(over)!r}; allowed: {allowed}")
    kernel = Kernel(lanes, slots, over)
    formula.build(kernel, *constants)
    return kernel.program(name, formula.inputs, formula.words, formula.by_strip, formula.planar)


def vector_work(
    name: str,
    elements: int,
    wuve: Wuve,
    constants: tuple[float, ...] = (),
    *,
    over: Over = Over.EACH,
    rows: int = 0,
    fused: bool = False,
    window: Window | None = None,
) -> Vector:
    """The instruction that runs ``name`` on ``elements`` in ``rows``.

    Raises:
        LaneError: as ``compile_program``.
    """
    program = compile_program(name, over, wuve.lanes, wuve.slots, constants)
    passes, per_row = program.passes, program.row_passes
    return Vector(elements, passes, name, constants, over, rows, per_row, fused, window)
