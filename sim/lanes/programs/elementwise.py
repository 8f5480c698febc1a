"""Ops of which every element is on its own.

Normal tails (erf, gelu) are Mills' ratio times the density, so small ones keep their relative
precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from weft.sim.lanes import Kernel, Value
from weft.sim.lanes.functions import Function
from weft.sim.lanes.programs.angles import ANGLES, COMPLEX
from weft.sim.lanes.programs.formula import (
    LEAST,
    LN_2,
    LOG2_E,
    Formula,
    Maker,
    exp,
    log2,
    reciprocal,
    sqrt,
)

__all__ = ["ELEMENTWISE", "SEVERAL"]


def _divide(k: Kernel, a: Value, b: Value) -> Value:
    return a * reciprocal(k, b)


def _sigmoid(k: Kernel, x: Value) -> Value:
    return reciprocal(k, exp(k, x, -1.0) + 1.0)


def _softplus(k: Kernel, x: Value) -> Value:
    """max(x, 0) + log(1 + exp(-|x|))."""
    tail = log2(k, k.function(Function.EXP2, k.mad(abs(x), -LOG2_E, -0.0)) + 1.0)
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


def _beyond(k: Kernel, x: Value, limit: float) -> Value:
    size = k.copy(abs(x))
    return k.less(limit, size)


def _copysign(k: Kernel) -> Value:
    size = k.copy(abs(k.input(0)))
    return k.pick(k.less(k.input(1), 0.0), -size, size)


def _power(k: Kernel, power: float = 2.0) -> Value | float:
    """Whole powers by multiplication, for logarithms have no sign; others of positive numbers."""
    x = k.input(0)
    if power != int(power) or abs(power) > _MOST_MULTIPLIED:
        roots = {0.5: lambda: sqrt(k, x), -0.5: lambda: k.function(Function.RSQRT, x)}
        return roots.get(power, lambda: k.function(Function.EXP2, log2(k, x) * power))()
    if power == 0:
        return 1.0
    made = _multiplied(x, abs(int(power)))
    return reciprocal(k, made) if power < 0 else made


_MOST_MULTIPLIED = 64


def _multiplied(x: Value, count: int) -> Value:
    """The product of ``count`` times x, by squares."""
    if count == 1:
        return x
    half = _multiplied(x, count // 2)
    squared = half * half
    return squared * x if count % 2 else squared


def _prelu_backward(k: Kernel) -> None:
    """The gradients of input and slope, of x, slope and g."""
    slope = k.copy(k.input(1))
    g = k.copy(k.input(2))
    below = g * k.input(0)
    k.emit(k.pick(k.input(0), g, slope * g))
    k.emit(k.pick(k.input(0), 0.0, below))


def _normal(k: Kernel) -> Value:
    """Box and Muller (1958)."""
    radius = sqrt(k, log2(k, 2.0 - k.random()) * (-2 * LN_2))
    return radius * k.function(Function.SINE, k.random())


def _native_dropout(k: Kernel, p: float = 0.1) -> None:
    """What is kept, made larger, and which that is."""
    kept = k.less(p + 1.0, k.random())
    k.emit(kept)
    k.emit((k.input(0) * kept) * (1 / (1 - p)))


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
    no = log2(k, 1.0 - p)
    return k.mad(y, log2(k, p) - no, no) * -LN_2


def _cross_entropy_backward(k: Kernel) -> Value:
    p = k.input(0)
    apart = p - k.input(1)
    return (apart * reciprocal(k, k.mad(-p, p, p))) * k.input(2)


def _logaddexp(k: Kernel) -> Value:
    apart = k.input(0) - k.input(1)
    tail = log2(k, k.function(Function.EXP2, k.mad(abs(apart), -LOG2_E, -0.0)) + 1.0)
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
    made = dict(ANGLES)

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
    add("frac", 1, lambda k: i(k, 0) - _trunc(k, i(k, 0)))
    add("copysign", 2, _copysign)
    add("hypot", 2, lambda k: sqrt(k, k.mad(i(k, 0), i(k, 0), i(k, 1) * i(k, 1))))
    add("exp2", 1, lambda k: k.function(Function.EXP2, i(k, 0)))
    add("exp", 1, lambda k: exp(k, i(k, 0)))
    add("expm1", 1, lambda k: exp(k, i(k, 0)) - 1.0)
    add("log", 1, lambda k: log2(k, i(k, 0)) * LN_2)
    add("log2", 1, lambda k: log2(k, i(k, 0)))
    add("log10", 1, lambda k: log2(k, i(k, 0)) * math.log10(2))
    add("log1p", 1, lambda k: log2(k, i(k, 0) + 1.0) * LN_2)
    add("tanh", 1, lambda k: k.function(Function.TANH, i(k, 0)))
    add("sigmoid", 1, lambda k: _sigmoid(k, i(k, 0)))
    add("erf", 1, lambda k: _erfc(k, i(k, 0), complement=False))
    add("erfc", 1, lambda k: _erfc(k, i(k, 0), complement=True))
    add("sqrt", 1, lambda k: sqrt(k, i(k, 0)))
    add("rsqrt", 1, lambda k: k.function(Function.RSQRT, i(k, 0)))
    add("reciprocal", 1, lambda k: reciprocal(k, i(k, 0)))
    add("sin", 1, lambda k: k.function(Function.SINE, i(k, 0) * (0.5 / math.pi)))
    add("cos", 1, lambda k: k.function(Function.SINE, i(k, 0) * (0.5 / math.pi) + 0.25))
    add("tan", 1, lambda k: _tan(k, i(k, 0) * (0.5 / math.pi)))
    add("bernoulli", 0, lambda k, p=0.5: k.less(k.random(), p + 1.0))
    add("uniform", 0, lambda k: k.random() - 1.0)
    add("random", 0, lambda k, span=2.0: _floor(k, (k.random() - 1.0) * span))
    add("normal", 0, lambda k, mean=0.0, deviation=1.0: _normal(k) * deviation + mean)
    add("exponential", 0, lambda k, rate=1.0: log2(k, 2.0 - k.random()) * (-LN_2 / rate))
    add("native_dropout_backward", 2, lambda k, scale=1.0: (i(k, 0) * i(k, 1)) * scale)
    add("div", 2, lambda k: _divide(k, i(k, 0), i(k, 1)))
    add("floor_divide", 2, lambda k: _floor(k, _divide(k, i(k, 0), i(k, 1))))
    add("remainder", 2, _remainder)
    add("fmod", 2, _fmod)
    add("addcmul", 3, lambda k, value=1.0: k.mad(i(k, 0) * i(k, 1), value, i(k, 2)))
    add("addcdiv", 3, lambda k, value=1.0: k.mad(_divide(k, i(k, 0), i(k, 1)), value, i(k, 2)))
    add("lerp", 2, lambda k, weight=0.5: k.mad(i(k, 1) - i(k, 0), weight, i(k, 0)))
    add("pow", 1, _power)
    add("float_power", 2, lambda k: k.function(Function.EXP2, log2(k, i(k, 0)) * i(k, 1)))
    add(
        "xlogy",
        2,
        lambda k: k.pick(k.equal(i(k, 0), 0.0), 0.0, (log2(k, i(k, 1)) * i(k, 0)) * LN_2),
    )
    add("logaddexp", 2, _logaddexp)
    add("leaky_relu", 1, lambda k, slope=0.01: k.pick(i(k, 0), i(k, 0), i(k, 0) * slope))
    add("leaky_relu_backward", 2, lambda k, slope=0.01: k.pick(i(k, 1), i(k, 0), i(k, 0) * slope))
    add(
        "hardtanh_backward",
        2,
        lambda k, low=-1.0, high=1.0: _inside(k, i(k, 1), low, high) * i(k, 0),
    )
    add("hardshrink", 1, lambda k, at=0.5: _beyond(k, i(k, 0), at) * i(k, 0))
    add("softshrink", 1, lambda k, at=0.5: i(k, 0) - k.min(k.max(i(k, 0), -at), at))
    add(
        "hardshrink_backward softshrink_backward",
        2,
        lambda k, at=0.5: _beyond(k, i(k, 1), at) * i(k, 0),
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
    add("rrelu_with_noise", 2, lambda k: k.pick(i(k, 0), i(k, 0), i(k, 0) * i(k, 1)))
    add("tanh_backward", 2, lambda k: k.mad(-i(k, 1), i(k, 1), 1.0) * i(k, 0))
    add("sigmoid_backward", 2, lambda k: k.mad(-i(k, 1), i(k, 1), i(k, 1)) * i(k, 0))
    add("silu", 1, lambda k: _sigmoid(k, i(k, 0)) * i(k, 0))
    add("silu_backward", 2, _silu_backward)
    add(
        "elu celu",
        1,
        lambda k, alpha=1.0: k.pick(i(k, 0), i(k, 0), k.mad(exp(k, i(k, 0)), alpha, -alpha)),
    )
    add(
        "selu",
        1,
        lambda k: (
            k.pick(i(k, 0), i(k, 0), k.mad(exp(k, i(k, 0)), _SELU_ALPHA, -_SELU_ALPHA))
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
    add("logit", 1, lambda k: log2(k, _divide(k, i(k, 0), 1.0 - i(k, 0))) * LN_2)
    add("logit_backward", 2, lambda k: reciprocal(k, k.mad(-i(k, 1), i(k, 1), i(k, 1))) * i(k, 0))
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

SEVERAL = COMPLEX | {
    "native_dropout": Formula(_native_dropout, 1),
    "_prelu_kernel_backward": Formula(_prelu_backward, 3),
}
"""Several results for each element: programs for windows of one round."""
