"""Reductions, normalisations, softmax and pooling: ops that go over rows.

Sums come first, as one sweep; what is made of them in a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from weft.sim.lanes import Emit, Kernel, Over, Reduction, Value
from weft.sim.lanes.functions import Function
from weft.sim.lanes.programs.formula import (
    LEAST,
    LN_2,
    LOG2_E,
    Formula,
    exp,
    log2,
    reciprocal,
    sqrt,
)

__all__ = ["ROWS", "leave"]


def _gather(k: Kernel, start: float, *, largest: bool, term: Callable[[], Value]) -> Value:
    """The row's sum or maximum of ``term``."""
    held = k.copy(start)
    with k.sweep():
        if largest:
            k.max(term(), held, held)
        else:
            k.mad(term(), 1.0, held, held)
    return k.reduced(held, Reduction.LARGEST if largest else Reduction.SUM)


def _two_sums(
    k: Kernel, terms: Callable[[Value, Value], None], *, partial: bool = False
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
    total = _gather(k, 0.0, largest=False, term=lambda: k.input(0))
    leave(k, total * scale if scale != 1.0 else total)


def leave(k: Kernel, value: Value) -> None:
    """One number per row: packed where a slot is a row, one line where lanes are rows."""
    ways = {Over.LANES: Emit.ROW, Over.APART: Emit.HALF}
    k.emit(value, ways.get(k.over, Emit.WORD))


def _largest(k: Kernel, sign: float = 1.0) -> None:
    x = k.input(0) if sign > 0 else -k.input(0)
    top = _gather(k, -math.inf, largest=True, term=lambda: x)
    leave(k, top if sign > 0 else k.copy(-top))


def _norm(k: Kernel) -> None:
    held = k.copy(0.0)
    with k.sweep():
        k.mad(k.input(0), k.input(0), held, held)
    leave(k, sqrt(k, k.reduced(held)))


def _product(k: Kernel) -> None:
    held = k.copy(1.0)
    with k.sweep():
        k.mad(k.input(0), held, -0.0, held)
    leave(k, k.reduced(held, Reduction.PRODUCT))


def _sum_of_numbers(k: Kernel) -> None:
    """The sum of what is not NaN."""
    x = k.input(0)
    leave(k, _gather(k, 0.0, largest=False, term=lambda: k.pick(k.equal(x, x), x, 0.0)))


def _nonzero(k: Kernel, count: float = 1024.0) -> None:
    """How many of ``count`` are not 0."""
    zeros = _gather(k, 0.0, largest=False, term=lambda: k.equal(k.input(0), 0.0))
    leave(k, count - zeros)


def _dot(k: Kernel) -> None:
    held = k.copy(0.0)
    with k.sweep():
        k.mad(k.input(0), k.input(1), held, held)
    leave(k, k.reduced(held))


def _weight_norm(k: Kernel) -> None:
    """Rows of the length that the row's word says; how long they were leaves as a word."""
    held = k.copy(0.0)
    with k.sweep():
        k.mad(k.input(0), k.input(0), held, held)
    inverse = k.function(Function.RSQRT, k.reduced(held))
    scale = inverse * k.word(0)
    with k.sweep():
        k.emit(k.input(0) * scale)
    k.emit(reciprocal(k, inverse), Emit.WORD)


def _weight_norm_backward(k: Kernel) -> None:
    """Of v and the gradient g of v a / |v|, the row's words a and |v|.

    a / |v| (g - v (v g) / |v|^2), and as a word v g / |v|, the gradient of a.
    """
    v, g = k.input(0), k.input(1)
    held = k.copy(0.0)
    with k.sweep():
        k.mad(v, g, held, held)
    inverse = reciprocal(k, k.word(1))
    length = k.reduced(held) * inverse
    scale = inverse * k.word(0)
    lean = (length * inverse) * scale
    with k.sweep():
        k.emit(k.mad(g, scale, v * -lean))
    k.emit(length, Emit.WORD)


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
    leave(k, variance * (count / (count - correction)))


def _deviation(k: Kernel, count: float = 1024.0, correction: float = 1.0) -> None:
    _, variance = _moments(k, count)
    leave(k, sqrt(k, variance * (count / (count - correction))))


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


def _exponentials(k: Kernel, *, safe: bool) -> tuple[Value, Value]:
    """-max log2 e and the sum of exp(x - max)."""
    top = _gather(k, LEAST if safe else -math.inf, largest=True, term=lambda: k.input(0))
    least = top * -LOG2_E
    held = k.copy(0.0)
    with k.sweep():
        k.mad(k.function(Function.EXP2, k.mad(k.input(0), LOG2_E, least)), 1.0, held, held)
    return least, k.reduced(held)


def _softmax(k: Kernel, *, safe: bool = False) -> None:
    least, total = _exponentials(k, safe=safe)
    part = reciprocal(k, total)
    if safe:
        part = k.pick(total, part, 0.0)
    with k.sweep():
        k.emit(k.function(Function.EXP2, k.mad(k.input(0), LOG2_E, least)) * part)


def _log_softmax(k: Kernel) -> None:
    least, total = _exponentials(k, safe=False)
    off = k.mad(least, 1.0, -log2(k, total)) * LN_2
    with k.sweep():
        k.emit(k.input(0) + off)


def _logsumexp(k: Kernel) -> None:
    least, total = _exponentials(k, safe=False)
    leave(k, k.mad(-least, 1.0, log2(k, total)) * LN_2)


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
    total = _gather(k, 0.0, largest=False, term=lambda: k.input(0))
    with k.sweep():
        k.emit(k.mad(-exp(k, k.input(1)), total, k.input(0)))


def _window(k: Kernel, start: float, rows: int, pitch: int, *, largest: bool) -> Value:
    """The largest, or the sum, of a window of ``rows`` rows ``pitch`` rounds apart."""
    held = k.copy(start)
    for row in range(rows):
        with k.sweep():
            element = k.input(0).ahead(row * pitch)
            if largest:
                k.max(element, held, held)
            else:
                k.mad(element, 1.0, held, held)
    return held


def _max_pool(k: Kernel, rows: float = 1, pitch: float = 0) -> None:
    k.emit(_window(k, -math.inf, int(rows), int(pitch), largest=True))


def _average_pool(k: Kernel, rows: float = 1, pitch: float = 0, count: float = 1.0) -> None:
    k.emit(_window(k, 0.0, int(rows), int(pitch), largest=False) * (1 / count))


def _max_pool_places(k: Kernel, rows: float = 1, pitch: float = 0) -> None:
    """The largest of a window and its place there, the first of equal ones; NaN has no place."""
    held, best, place = k.copy(-math.inf), k.copy(0.0), k.copy(0.0)
    for row in range(int(rows)):
        with k.sweep():
            element = k.input(0).ahead(row * int(pitch))
            larger = k.less(held, element)
            k.pick(larger, place, best, best)
            k.max(element, held, held)
            k.mad(place, 1.0, 1.0, place)
    k.emit(held)
    k.emit(best)


def _max_pool_backward(k: Kernel, *windows: float) -> None:
    """The gradient of a pixel that lies in some windows, of g and the places of their largest.

    ``windows``: of each how many rounds on it lies, and the pixel's own place in it.
    """
    held = k.copy(0.0)
    for ahead, place in zip(windows[::2], windows[1::2], strict=True):
        here = k.copy(k.input(1).ahead(int(ahead)))
        held = k.mad(k.equal(here, place), k.input(0).ahead(int(ahead)), held)
    k.emit(held)


_ACROSS = (Over.LANES,)
_WHOLE = (Over.LANES, Over.ALL)
_ANY = (*_WHOLE, Over.SLOTS, Over.APART)
_FREE = (*_WHOLE, Over.APART)

ROWS: dict[str, Formula] = {
    **dict.fromkeys(("sum", "mean"), Formula(_sum, 1, _ANY)),
    **dict.fromkeys(("amax", "max", "any"), Formula(_largest, 1, _ANY)),
    **dict.fromkeys(("amin", "min", "all"), Formula(lambda k: _largest(k, -1.0), 1, _ANY)),
    **dict.fromkeys(("norm", "linalg_vector_norm"), Formula(_norm, 1, _ANY)),
    "var": Formula(_variance, 1, _ANY),
    "std": Formula(_deviation, 1, _ANY),
    "prod": Formula(_product, 1, _ANY),
    "nansum": Formula(_sum_of_numbers, 1, _ANY),
    "count_nonzero": Formula(_nonzero, 1, _ANY),
    "dot": Formula(_dot, 2, _ANY),
    "_weight_norm_interface": Formula(_weight_norm, 1, (Over.SLOTS,), 1, by_strip=True),
    "_weight_norm_interface_backward": Formula(
        _weight_norm_backward, 2, (Over.SLOTS,), 2, by_strip=True
    ),
    "logsumexp": Formula(_logsumexp, 1, _FREE),
    "native_layer_norm": Formula(_layer_norm, 1, _ACROSS, words=1),
    "native_layer_norm_backward": Formula(_layer_norm_backward, 2, _ACROSS, words=1),
    "_fused_rms_norm": Formula(_rms_norm, 1, _ACROSS, words=1),
    "_fused_rms_norm_backward": Formula(_rms_norm_backward, 2, _ACROSS, words=1),
    "_softmax": Formula(_softmax, 1, _FREE),
    "_safe_softmax": Formula(lambda k: _softmax(k, safe=True), 1, _FREE),
    "_log_softmax": Formula(_log_softmax, 1, _FREE),
    "_softmax_backward_data": Formula(_softmax_backward, 2, _FREE),
    "_log_softmax_backward_data": Formula(_log_softmax_backward, 2, _FREE),
    "batch_sums": Formula(_batch_sums, 1, (Over.SLOTS,), words=2, by_strip=True),
    "batch_scale": Formula(_batch_scale, 1, (Over.SLOTS,), words=2, by_strip=True),
    "batch_sums_backward": Formula(_batch_sums_backward, 2, (Over.SLOTS,), 4, by_strip=True),
    "batch_scale_backward": Formula(_batch_scale_backward, 2, (Over.SLOTS,), 4, by_strip=True),
    "weight_sums": Formula(_weight_sums, 2, (Over.SLOTS,), 2, by_strip=True),
    "max_pool": Formula(_max_pool, 1, _ACROSS),
    "avg_pool": Formula(_average_pool, 1, _ACROSS),
    "max_pool_places": Formula(_max_pool_places, 1, _ACROSS),
    "max_pool_backward": Formula(_max_pool_backward, 2, _ACROSS),
}
"""Reductions, normalisations, softmax and pooling, and how their rows may lie."""
