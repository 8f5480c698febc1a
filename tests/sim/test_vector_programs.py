"""Lane programs on the reference against torch, and what the simulator charges for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from weft.sim.lanes import Kernel, LaneError, Over
from weft.sim.lanes.programs import (
    ELEMENTWISE,
    OPTIMIZERS,
    PLACES,
    PROGRAMS,
    ROWS,
    SEVERAL,
    compile_program,
)
from weft.sim.machine import load_machine
from weft.sim.program import Instruction, Queue, Vector, Window
from weft.sim.program.strips import strips_of, vector_cycles
from weft.sim.program.vector_work import vector_work
from weft.sim.reference.banks import Store
from weft.sim.reference.bind import Bound
from weft.sim.reference.vector import apply_vector

_SMALL = load_machine("sat-4x4")
MACHINE = replace(_SMALL, buffers=replace(_SMALL.buffers, vector_bytes=1 << 16))
LANES = MACHINE.wuve.lanes
Halves = NDArray[np.float16]
Tensor = torch.Tensor


def work_of(
    name: str, elements: int, constants: Sequence[float] = (), over: Over = Over.EACH, rows: int = 0
) -> Vector:
    return vector_work(name, elements, MACHINE.wuve, tuple(constants), over=over, rows=rows)


def run(
    work: Vector, operands: Sequence[Halves], words: NDArray[Any] | None = None
) -> tuple[Halves, NDArray[np.float32]]:
    """FP16 and FP32 results of ``work`` on operands of whole rounds, padded to a power of two."""
    store = Store(MACHINE, np.zeros(4096, np.uint8), {})
    bound = Bound(Instruction(Queue.WUVE, work), 0, {})
    inputs = PROGRAMS[work.op].inputs
    if inputs:
        wide = {1: 1, 2: 2, 3: 4, 4: 4}[inputs]
        parts = [np.resize(o.reshape(-1, LANES), (len(operands[0].reshape(-1, LANES)), LANES))
                 for o in operands]  # fmt: skip
        parts += [np.zeros_like(parts[0])] * (wide - len(parts))
        image = np.stack(parts, axis=1).reshape(-1)
        store.bank("vector_half_in", bound).view(np.float16)[: image.size] = image
    if words is not None:
        store.bank("vector_in", bound).view(words.dtype)[: words.size] = words.reshape(-1)
    apply_vector(store, bound, work)
    return (
        store.bank("vector_half_out", bound).view(np.float16).copy(),
        store.bank("vector_out", bound).view(np.float32).copy(),
    )


def halves(seed: int, count: int, low: float = -8, high: float = 8) -> Halves:
    return np.random.default_rng(seed).uniform(low, high, count).astype(np.float16)


def bits01(seed: int, count: int) -> Halves:
    return np.random.default_rng(seed).integers(0, 2, count).astype(np.float16)


def close(got: Halves, true: Tensor, absolute: float = 2.0**-18) -> None:
    """Two units in FP16's last place, or ``absolute``."""
    want = true.double().numpy().reshape(-1)
    have = got[: want.size].astype(np.float64)
    finite = np.isfinite(want) & (np.abs(want) < 65504)
    assert np.array_equal(np.isnan(have[~finite]), np.isnan(want[~finite]))
    error = np.abs(have[finite] - want[finite])
    allowed = np.maximum(np.abs(want[finite]) * 2.0**-10, absolute)
    worst = int(np.argmax(error - allowed))
    assert error[worst] <= allowed[worst], (worst, have[finite][worst], want[finite][worst])


UNARY: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "copy": (lambda x: x, -9, 9),
    "neg": (torch.neg, -9, 9),
    "abs": (torch.abs, -9, 9),
    "square": (torch.square, -9, 9),
    "relu": (torch.relu, -9, 9),
    "clamp": (lambda x: torch.clamp(x, -1, 1), -3, 3),
    "clamp_min": (lambda x: torch.clamp_min(x, 0), -3, 3),
    "clamp_max": (lambda x: torch.clamp_max(x, 0), -3, 3),
    "threshold": (lambda x: F.threshold(x, 0, 0), -3, 3),
    "bitwise_not": (lambda x: 1 - x, 0, 1),
    "isinf": (lambda x: torch.isinf(x).double(), -9, 9),
    "isnan": (lambda x: torch.isnan(x).double(), -9, 9),
    "isfinite": (lambda x: torch.isfinite(x).double(), -9, 9),
    "signbit": (lambda x: torch.signbit(x).double(), -9, 9),
    "sign": (torch.sign, -9, 9),
    "floor": (torch.floor, -50, 50),
    "ceil": (torch.ceil, -50, 50),
    "round": (torch.round, -50, 50),
    "trunc": (torch.trunc, -50, 50),
    "nan_to_num": (torch.nan_to_num, -9, 9),
    "exp": (torch.exp, -12, 11),
    "expm1": (torch.expm1, -12, 11),
    "log": (torch.log, 0.1, 900),
    "log2": (torch.log2, 0.1, 900),
    "log10": (torch.log10, 0.1, 900),
    "log1p": (torch.log1p, -0.9, 90),
    "tanh": (torch.tanh, -9, 9),
    "sigmoid": (torch.sigmoid, -16, 16),
    "erf": (torch.erf, -4, 4),
    "erfc": (torch.erfc, -4, 4),
    "sqrt": (torch.sqrt, 0, 900),
    "rsqrt": (torch.rsqrt, 0.01, 900),
    "reciprocal": (torch.reciprocal, 0.01, 900),
    "sin": (torch.sin, -20, 20),
    "cos": (torch.cos, -20, 20),
    "tan": (torch.tan, -1.4, 1.4),
    "pow": (lambda x: torch.pow(x, 2), 0.1, 90),
    "leaky_relu": (F.leaky_relu, -9, 9),
    "hardtanh": (F.hardtanh, -3, 3),
    "hardsigmoid": (F.hardsigmoid, -9, 9),
    "hardswish": (F.hardswish, -9, 9),
    "silu": (F.silu, -12, 12),
    "elu": (F.elu, -9, 9),
    "selu": (F.selu, -9, 9),
    "softplus": (F.softplus, -9, 9),
    "log_sigmoid_forward": (F.logsigmoid, -9, 9),
    "logit": (torch.logit, 0.02, 0.98),
    "mish": (F.mish, -9, 9),
    "gelu": (F.gelu, -5, 9),
    "exp2": (torch.exp2, -12, 11),
    "frac": (torch.frac, -50, 50),
    "atan": (torch.atan, -20, 20),
    "asin": (torch.asin, -1, 1),
    "acos": (torch.acos, -1, 1),
    "asinh": (torch.asinh, -90, 90),
    "acosh": (torch.acosh, 1, 90),
    "atanh": (torch.atanh, -0.99, 0.99),
    "sinh": (torch.sinh, -9, 9),
    "cosh": (torch.cosh, -9, 9),
    "hardshrink": (F.hardshrink, -2, 2),
    "softshrink": (F.softshrink, -2, 2),
    "fill": (torch.zeros_like, -9, 9),
    "celu": (F.celu, -9, 9),
}


@pytest.mark.parametrize("name", UNARY)
def test_of_one_operand(name: str) -> None:
    function, low, high = UNARY[name]
    x = halves(1, 512, low, high)
    made, _ = run(work_of(name, x.size), [x])
    close(made, function(torch.tensor(x.astype(np.float64))))


BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "rsub": torch.rsub,
    "mul": torch.mul,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "eq": lambda a, b: torch.eq(a, b).double(),
    "ne": lambda a, b: torch.ne(a, b).double(),
    "lt": lambda a, b: torch.lt(a, b).double(),
    "gt": lambda a, b: torch.gt(a, b).double(),
    "le": lambda a, b: torch.le(a, b).double(),
    "ge": lambda a, b: torch.ge(a, b).double(),
    "heaviside": torch.heaviside,
    "div": torch.div,
    "floor_divide": torch.floor_divide,
    "remainder": torch.remainder,
    "fmod": torch.fmod,
    "lerp": lambda a, b: torch.lerp(a, b, 0.5),
    "logaddexp": torch.logaddexp,
    "mse_loss": lambda a, b: F.mse_loss(a, b, reduction="none"),
    "huber_loss": lambda a, b: F.huber_loss(a, b, reduction="none"),
    "smooth_l1_loss": lambda a, b: F.smooth_l1_loss(a, b, reduction="none"),
    "prelu": lambda a, b: torch.where(a > 0, a, a * b),
    "glu": lambda a, b: a * torch.sigmoid(b),
    "threshold_backward": lambda g, x: torch.where(x > 0, g, 0 * g),
    "atan2": torch.atan2,
    "hypot": torch.hypot,
    "copysign": torch.copysign,
    "rrelu_with_noise": lambda a, b: torch.where(a > 0, a, a * b),
    "native_dropout_backward": torch.mul,
}


@pytest.mark.parametrize("name", BINARY)
def test_of_two_operands(name: str) -> None:
    a, b = halves(2, 512), halves(3, 512)
    b[:64] = a[:64]
    if name in ("floor_divide", "remainder", "fmod"):
        b = np.where(np.abs(b) < 0.5, np.float16(0.75), b)
        a = np.where(np.abs(np.mod(a / b.astype(np.float64), 1) - 0.5) > 0.49, a + b / 2, a)
        a = a.astype(np.float16)
    made, _ = run(work_of(name, a.size), [a, b])
    close(made, BINARY[name](*(torch.tensor(x.astype(np.float64)) for x in (a, b))), 2.0**-12)


BACKWARD: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu_backward": F.leaky_relu,
    "hardtanh_backward": F.hardtanh,
    "hardsigmoid_backward": F.hardsigmoid,
    "hardswish_backward": F.hardswish,
    "silu_backward": F.silu,
    "softplus_backward": F.softplus,
    "log_sigmoid_backward": F.logsigmoid,
    "mish_backward": F.mish,
    "gelu_backward": F.gelu,
    "hardshrink_backward": F.hardshrink,
    "softshrink_backward": F.softshrink,
}


@pytest.mark.parametrize("name", BACKWARD)
def test_gradients_by_the_operand(name: str) -> None:
    g, x = halves(4, 512, -2, 2), halves(5, 512, -5, 5)
    made, _ = run(work_of(name, x.size), [g, x])
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    BACKWARD[name](wide).backward(torch.tensor(g.astype(np.float64)))
    assert wide.grad is not None
    close(made, wide.grad, 2.0**-16)


BY_RESULT: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh_backward": torch.tanh,
    "sigmoid_backward": torch.sigmoid,
    "elu_backward": F.elu,
}


@pytest.mark.parametrize("name", BY_RESULT)
def test_gradients_by_the_result(name: str) -> None:
    g, x = halves(4, 512, -2, 2), halves(5, 512, -3, 3)
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    result = BY_RESULT[name](wide)
    result.backward(torch.tensor(g.astype(np.float64)))
    y = result.detach().numpy().astype(np.float16)
    made, _ = run(work_of(name, x.size), [g, y])
    assert wide.grad is not None
    close(made, wide.grad, 2.0**-9)  # y is rounded


def test_of_three_operands() -> None:
    a, b, c = halves(6, 256), halves(7, 256, 1, 8), halves(8, 256)
    wide = [torch.tensor(x.astype(np.float64)) for x in (a, b, c)]
    close(run(work_of("addcmul", 256), [a, b, c])[0], wide[2] + wide[0] * wide[1], 2.0**-12)
    close(run(work_of("addcdiv", 256), [a, b, c])[0], wide[2] + wide[0] / wide[1], 2.0**-12)
    mask = bits01(9, 256)
    chosen = torch.where(torch.tensor(mask > 0), wide[0], wide[2])
    close(run(work_of("where", 256), [mask, a, c])[0], chosen)
    error = 2 * (wide[0] - wide[1]) * wide[2]
    close(run(work_of("mse_loss_backward", 256), [a, b, c])[0], error, 2.0**-8)
    bound = (wide[0] - wide[1]).clamp(-1, 1) * wide[2]
    close(run(work_of("huber_loss_backward", 256), [a, b, c])[0], bound)
    p, y = halves(10, 256, 0.05, 0.95), bits01(11, 256)
    wide_p = torch.tensor(p.astype(np.float64), requires_grad=True)
    loss = F.binary_cross_entropy(wide_p, torch.tensor(y.astype(np.float64)), reduction="none")
    loss.backward(wide[2])
    assert wide_p.grad is not None
    close(run(work_of("binary_cross_entropy", 256), [p, y])[0], loss.detach())
    close(run(work_of("binary_cross_entropy_backward", 256), [p, y, c])[0], wide_p.grad)
    gate = torch.sigmoid(wide[0])
    slope = gate * (1 - gate) * wide[1] * wide[2]
    close(run(work_of("glu_backward", 256), [b, a, c])[0], slope, 2.0**-12)


def test_masks_and_whole_numbers() -> None:
    """0 or 1 is a truth; shifts are of whole numbers."""
    a, b = bits01(40, 256), bits01(41, 256)
    one, two = (torch.tensor(x > 0) for x in (a, b))
    truths = {
        "bitwise_and": one & two,
        "bitwise_or": one | two,
        "bitwise_xor": one ^ two,
        "logical_xor": one ^ two,
    }
    for name, true in truths.items():
        close(run(work_of(name, 256), [a, b])[0], true.double())
    close(run(work_of("logical_not", 256), [a])[0], (~one).double())
    x = halves(42, 256)
    filled = torch.tensor(x.astype(np.float64)).masked_fill(one, -3.5)
    close(run(work_of("masked_fill", 256, [-3.5]), [x, a])[0], filled)
    draw = np.random.default_rng(43)
    whole, by = (draw.integers(0, high, 256).astype(np.float16) for high in (60, 5))
    wide_whole, wide_by = (torch.tensor(v.astype(np.int64)) for v in (whole, by))
    for name, true in (("left", wide_whole << wide_by), ("right", wide_whole >> wide_by)):
        close(run(work_of(f"bitwise_{name}_shift", 256), [whole, by])[0], true.double())


def test_gradients_and_logarithms_of_chances() -> None:
    x, y = halves(44, 256, 0.02, 0.98), halves(45, 256, 0.02, 0.98)
    g = halves(46, 256, -2, 2)
    x[:8] = 0
    wide_x, wide_y, wide_g = (torch.tensor(v.astype(np.float64)) for v in (x, y, g))
    close(run(work_of("xlogy", 256), [x, y])[0], torch.xlogy(wide_x, wide_y))
    wide_y.requires_grad = True
    torch.logit(wide_y).backward(wide_g)
    assert wide_y.grad is not None
    close(run(work_of("logit_backward", 256), [g, y])[0], wide_y.grad)
    logits = halves(47, 256, -9, 9)
    loss = F.binary_cross_entropy_with_logits(
        torch.tensor(logits.astype(np.float64)), wide_x, reduction="none"
    )
    close(run(work_of("binary_cross_entropy_with_logits", 256), [logits, x])[0], loss)


def test_nothing_is_lost_on_infinities_and_nan() -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0, -0.0, 65504, 6e-8, -1] * 2, np.float16)
    wide = torch.tensor(x.astype(np.float64))
    for name in ("exp", "sigmoid", "tanh", "sqrt", "rsqrt", "relu", "reciprocal", "log", "isinf"):
        close(run(work_of(name, x.size), [x])[0], UNARY[name][0](wide), 2.0**-13)


def test_random_numbers() -> None:
    count = 4096
    dropped, _ = run(work_of("bernoulli", count, [0.25]), [])
    assert set(np.unique(dropped[:count])) == {0.0, 1.0}
    assert abs(float(np.mean(dropped[:count].astype(float))) - 0.25) < 0.03
    even, _ = run(work_of("uniform", count), [])
    assert abs(float(np.mean(even[:count].astype(float))) - 0.5) < 0.02
    bell, _ = run(work_of("normal", count, [2.0, 3.0]), [])
    values = bell[:count].astype(float)
    assert abs(np.mean(values) - 2) < 0.2
    assert abs(np.std(values) - 3) < 0.2
    tails, _ = run(work_of("exponential", count, [2.0]), [])
    assert abs(float(np.mean(tails[:count].astype(float))) - 0.5) < 0.04


POWERS = [0.0, 1.0, 2.0, 3.0, 7.0, -1.0, -3.0, 0.5, -0.5, 1.7]


@pytest.mark.parametrize("power", POWERS)
def test_powers(power: float) -> None:
    x = halves(13, 512, 0.3 if power % 1 else -3, 3)
    x[np.abs(x) < 0.1] = 0.5
    made, _ = run(work_of("pow", x.size, [power]), [x])
    close(made, torch.pow(torch.tensor(x.astype(np.float64)), power))
    y = halves(14, 512, -2, 2)
    made, _ = run(work_of("float_power", x.size), [np.abs(x), y])
    close(made, torch.pow(*(torch.tensor(v.astype(np.float64)) for v in (np.abs(x), y))))


def rows_of(seed: int, rows: int, length: int, low: float = -4, high: float = 4) -> Halves:
    return halves(seed, rows * length, low, high).reshape(rows, length)


def padded(x: Halves) -> Halves:
    """Rows padded to whole rounds with what must not matter."""
    rows, length = x.shape
    wide = -(-length // LANES) * LANES
    out = np.full((rows, wide), 77, np.float16)
    out[:, :length] = x
    return out


def column_words(w: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float16]:
    """Words of two FP16, round by round of the row."""
    wide = -(-w.size // LANES) * LANES
    pairs = np.zeros((wide, 2), np.float16)
    pairs[: w.size, 0], pairs[: b.size, 1] = w, b
    return pairs


SIZES = [(5, 40), (16, 37), (33, 8), (3, 3)]


def unpadded(made: Halves, rows: int, length: int) -> Halves:
    wide = -(-length // LANES) * LANES
    return made[: rows * wide].reshape(rows, wide)[:, :length].reshape(-1)


@pytest.mark.parametrize(("rows", "length"), SIZES)
def test_softmax_and_its_gradient(rows: int, length: int) -> None:
    x = rows_of(20, rows, length)
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = torch.softmax(wide, 1)
    for over in (Over.LANES, Over.ALL):
        made, _ = run(work_of("_softmax", x.size, (), over, rows), [padded(x)])
        close(unpadded(made, rows, length), y.detach())
        log, _ = run(work_of("_log_softmax", x.size, (), over, rows), [padded(x)])
        close(unpadded(log, rows, length), torch.log_softmax(wide, 1).detach(), 2.0**-16)
    g = rows_of(21, rows, length, -1, 1)
    half = y.detach().numpy().astype(np.float16)
    wide_g, wide_y = (torch.tensor(v.astype(np.float64)) for v in (g, half))
    work = work_of("_softmax_backward_data", x.size, (), Over.LANES, rows)
    true = wide_y * (wide_g - (wide_g * wide_y).sum(1, keepdim=True))
    close(unpadded(run(work, [padded(g), padded(half)])[0], rows, length), true, 2.0**-16)
    log_y = np.log(half.astype(np.float64)).astype(np.float16)
    work = work_of("_log_softmax_backward_data", x.size, (), Over.LANES, rows)
    p = torch.exp(torch.tensor(log_y.astype(np.float64)))
    true = wide_g - p * wide_g.sum(1, keepdim=True)
    close(unpadded(run(work, [padded(g), padded(log_y)])[0], rows, length), true, 2.0**-14)


@pytest.mark.parametrize(("rows", "length"), [(70, 9), (5, 20), (64, 3)])
def test_softmax_of_rows_that_lie_apart(rows: int, length: int) -> None:
    """Lanes and slots are rows; a strip's elements lie column by column."""
    strip = LANES * MACHINE.wuve.slots
    strips = -(-rows // strip)
    x = rows_of(34, strips * strip, length)
    image = x.reshape(strips, strip, length).swapaxes(1, 2)
    work = work_of("_softmax", rows * length, (), Over.APART, rows)
    made, _ = run(work, [np.ascontiguousarray(image)])
    found = made[: x.size].reshape(strips, length, strip).swapaxes(1, 2).reshape(-1, length)
    close(found[:rows].reshape(-1), torch.softmax(torch.tensor(x[:rows].astype(np.float64)), 1))
    assert work.row_passes < work_of("_softmax", rows * length, (), Over.LANES, rows).row_passes


def test_softmax_of_rows_that_are_masked_out() -> None:
    x = rows_of(22, 4, 8)
    x[1], x[2, ::2] = -np.inf, -np.inf
    made, _ = run(work_of("_safe_softmax", x.size, (), Over.LANES, 4), [x])
    true = torch.softmax(torch.tensor(x.astype(np.float64)), 1)
    true[1] = 0
    close(made, true)


@pytest.mark.parametrize(("rows", "length"), SIZES)
def test_layer_and_rms_norm_and_their_gradients(rows: int, length: int) -> None:
    x, g = rows_of(23, rows, length), rows_of(24, rows, length, -1, 1)
    w, b = halves(25, length, 0.5, 1.5), halves(26, length, -1, 1)
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    wide_g, wide_w, wide_b = (torch.tensor(v.astype(np.float64)) for v in (g, w, b))
    names = {
        "native_layer_norm": F.layer_norm(wide, (length,), wide_w, wide_b, 1e-5),
        "_fused_rms_norm": F.rms_norm(wide, (length,), wide_w, 1e-5),
    }
    words = column_words(w, b)
    for name, y in names.items():
        work = work_of(name, x.size, (length, 1e-5), Over.LANES, rows)
        made, _ = run(work, [padded(x)], words)
        close(unpadded(made, rows, length), y.detach(), 2.0**-10)
        wide.grad = None
        y.backward(wide_g)
        assert wide.grad is not None
        work = work_of(f"{name}_backward", x.size, (length, 1e-5), Over.LANES, rows)
        made, _ = run(work, [padded(x), padded(g)], words)
        close(unpadded(made, rows, length), wide.grad, 2.0**-10)


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: x.sum(1),
    "amax": lambda x: x.amax(1),
    "amin": lambda x: x.amin(1),
    "norm": lambda x: x.norm(dim=1),
    "nansum": lambda x: x.nansum(1),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize(("rows", "length"), [(5, 40), (33, 37), (7, 200)])
def test_reductions_wherever_the_rows_lie(name: str, rows: int, length: int) -> None:
    x = rows_of(27, rows, length)
    true = REDUCTIONS[name](torch.tensor(x.astype(np.float64)))
    made, _ = run(work_of(name, x.size, (), Over.LANES, rows), [padded(x)])
    close(made[:rows], true, 2.0**-8)
    _, words = run(work_of(name, x.size, (), Over.ALL, rows), [padded(x)])
    close(words.reshape(-1, LANES)[:rows, 0].astype(np.float16), true, 2.0**-8)
    _, words = run(work_of(name, x.size, (), Over.SLOTS, rows), [padded(x.T.copy())])
    close(words[:rows].astype(np.float16), true, 2.0**-8)
    made, _ = run(work_of(name, x.size, (), Over.APART, rows), [apart(x)])
    close(results_apart(made, rows, length), true, 2.0**-8)


def apart(x: Halves) -> Halves:
    """Rows in lanes of slots: strip by strip, element by element."""
    strip = LANES * MACHINE.wuve.slots
    rows, length = x.shape
    strips = -(-rows // strip)
    image = np.full((strips * strip, length), 77, np.float16)
    image[:rows] = x
    return np.ascontiguousarray(image.reshape(strips, strip, length).swapaxes(1, 2))


def of_apart(made: Halves, rows: int, length: int) -> Halves:
    """The way back."""
    strip = LANES * MACHINE.wuve.slots
    strips = -(-rows // strip)
    image = made[: strips * strip * length].reshape(strips, length, strip)
    return image.swapaxes(1, 2).reshape(-1, length)[:rows]


def results_apart(made: Halves, rows: int, length: int) -> Halves:
    """One per row, where the row's first element was."""
    return of_apart(made, rows, length)[:, 0].copy()


def test_products_and_counts() -> None:
    x = rows_of(50, 9, 50, 0.8, 1.25)
    x[:, ::7] *= -1
    y = rows_of(51, 9, 50)
    y[::2, ::3] = 0
    wide_x, wide_y = (torch.tensor(v.astype(np.float64)) for v in (x, y))
    for name, data, constants, true in (
        ("prod", x, (), wide_x.prod(1)),
        ("count_nonzero", y, (50.0,), torch.count_nonzero(wide_y, 1).double()),
        ("mean", y, (1 / 50,), wide_y.mean(1)),
    ):
        made, _ = run(work_of(name, data.size, constants, Over.LANES, 9), [padded(data)])
        close(made[:9], true, 2.0**-10)
        made, _ = run(work_of(name, data.size, constants, Over.APART, 9), [apart(data)])
        close(results_apart(made, 9, 50), true, 2.0**-10)
        _, words = run(work_of(name, data.size, constants, Over.ALL, 9), [padded(data)])
        close(words.reshape(-1, LANES)[:9, 0].astype(np.float16), true, 2.0**-10)
    made, _ = run(work_of("dot", x.size, (), Over.LANES, 9), [padded(x), padded(y)])
    close(made[:9], (wide_x * wide_y).sum(1), 2.0**-8)
    made, _ = run(work_of("dot", x.size, (), Over.APART, 9), [apart(x), apart(y)])
    close(results_apart(made, 9, 50), (wide_x * wide_y).sum(1), 2.0**-8)
    y[3, 5] = np.nan
    made, _ = run(work_of("nansum", y.size, (), Over.LANES, 9), [padded(y)])
    close(made[:9], torch.tensor(y.astype(np.float64)).nansum(1), 2.0**-8)


def test_weight_norm_and_its_gradient() -> None:
    """A row per lane, so weights lie element by element."""
    rows, length = LANES, 50
    v, g = rows_of(52, rows, length), rows_of(53, rows, length, -1, 1)
    a = halves(54, rows, 0.5, 2)
    wide_v, wide_a = (torch.tensor(x.astype(np.float64), requires_grad=True) for x in (v, a))
    norms = wide_v.norm(dim=1)
    w = wide_v * (wide_a / norms)[:, None]
    w.backward(torch.tensor(g.astype(np.float64)))
    name = "_weight_norm_interface"
    work = work_of(name, v.size, (), Over.SLOTS, rows)
    made, lengths = run(work, [v.T.copy()], a.astype(np.float32))
    close(made[: v.size].reshape(length, rows).T.reshape(-1), w.detach())
    close(lengths[:rows].astype(np.float16), norms.detach())
    words = np.stack([a.astype(np.float32), lengths[:rows]])
    work = work_of(f"{name}_backward", v.size, (), Over.SLOTS, rows)
    made, slopes = run(work, [v.T.copy(), g.T.copy()], words)
    assert wide_v.grad is not None
    assert wide_a.grad is not None
    close(made[: v.size].reshape(length, rows).T.reshape(-1), wide_v.grad, 2.0**-14)
    close(slopes[:rows].astype(np.float16), wide_a.grad, 2.0**-10)


def test_sums_for_the_gradients_of_a_norm() -> None:
    g, x = rows_of(55, 70, LANES, -1, 1), rows_of(56, 70, LANES)
    zeros = np.zeros((2, LANES), np.float32)
    _, words = run(work_of("weight_sums", g.size, (), Over.SLOTS, LANES), [g, x], zeros)
    wide_g, wide_x = g.astype(np.float64), x.astype(np.float64)
    assert np.allclose(words[:LANES], wide_g.sum(0), atol=1e-4)
    assert np.allclose(words[LANES : 2 * LANES], (wide_g * wide_x).sum(0), atol=1e-4)


def test_moments() -> None:
    x = rows_of(28, 9, 50)
    true = torch.tensor(x.astype(np.float64))
    for name, want in (("var", true.var(1)), ("std", true.std(1))):
        made, _ = run(work_of(name, x.size, (50.0,), Over.LANES, 9), [padded(x)])
        close(made[:9], want, 2.0**-8)
    made, _ = run(work_of("logsumexp", x.size, (), Over.LANES, 9), [padded(x)])
    close(made[:9], true.logsumexp(1), 2.0**-8)


def test_batch_norm_in_two_instructions_and_its_gradient() -> None:
    pixels, channels = 70, 8
    x, g = rows_of(29, pixels, channels), rows_of(30, pixels, channels, -1, 1)
    wide = torch.tensor(x.astype(np.float64), requires_grad=True)
    y = F.batch_norm(wide, None, None, training=True)
    y.backward(torch.tensor(g.astype(np.float64)))
    groups = channels // LANES
    sums = np.zeros((groups, 2, LANES), np.float32)
    for part in (x[:40], x[40:]):
        _, words = run(work_of("batch_sums", part.size, (), Over.SLOTS, channels), [part], sums)
        sums = words[: sums.size].reshape(sums.shape).copy()
    total, squares = sums[:, 0].reshape(-1) / pixels, sums[:, 1].reshape(-1) / pixels
    assert np.allclose(total, x.astype(np.float64).mean(0), atol=1e-5)
    scale = 1 / np.sqrt(squares - total**2 + 1e-5)
    shift = -total * scale
    words = np.stack([v.reshape(groups, LANES) for v in (scale, shift)], 1).astype(np.float32)
    made, _ = run(work_of("batch_scale", x.size, (), Over.SLOTS, channels), [x], words)
    close(made, y.detach(), 2.0**-10)
    zeros = np.zeros_like(scale)
    words = np.stack([v.reshape(groups, LANES) for v in (zeros, zeros, scale, shift)], 1)
    work = work_of("batch_sums_backward", x.size, (), Over.SLOTS, channels)
    _, found = run(work, [x, g], words.astype(np.float32))
    line = found.reshape(-1, LANES)
    dsum = np.concatenate([line[2 * i] for i in range(groups)]) / pixels
    dlean = np.concatenate([line[2 * i + 1] for i in range(groups)]) / pixels
    b = -scale * dlean * scale
    c = -scale * dsum - scale * dlean * shift
    words = np.stack([v.reshape(groups, LANES) for v in (scale, b, c, zeros)], 1)
    work = work_of("batch_scale_backward", x.size, (), Over.SLOTS, channels)
    made, _ = run(work, [x, g], words.astype(np.float32))
    assert wide.grad is not None
    close(made, wide.grad, 2.0**-10)


def test_pooling() -> None:
    """A 3 x 3 window with stride 2 over 13 x 13 pixels of 4 channels."""
    size, out = 13, 6
    x = rows_of(31, size * size, LANES)
    image = torch.tensor(x.astype(np.float64)).reshape(1, size, size, LANES).permute(0, 3, 1, 2)
    window = Window(out, out, 3, 2 * size, 2, 1)
    pooled = {
        "max_pool": (F.max_pool2d(image, 3, 2), (3.0, size)),
        "avg_pool": (F.avg_pool2d(image, 3, 2), (3.0, size, 9.0)),
    }
    for name, (true, constants) in pooled.items():
        work = replace(work_of(name, 9 * out * out * LANES, constants, Over.LANES), window=window)
        made, _ = run(work, [x])
        close(made, true.permute(0, 2, 3, 1).contiguous(), 2.0**-10)


def test_max_pooling_and_its_gradient_by_places() -> None:
    """3 x 3, stride 2, padded by 1, on 12 x 12 pixels with many equal ones."""
    size, out = 12, 6
    x = np.round(rows_of(32, size * size, LANES)).reshape(size, size, LANES)
    image = torch.tensor(x.astype(np.float64), requires_grad=True)
    nchw = image.permute(2, 0, 1)[None]
    pooled, places = F.max_pool2d(nchw, 3, 2, 1, return_indices=True)
    g = rows_of(33, out * out, LANES, -1, 1)
    wide_g = torch.tensor(g.astype(np.float64)).reshape(out, out, LANES)
    pooled.backward(wide_g.permute(2, 0, 1)[None])
    edge = np.full((size + 2, size + 2, LANES), -np.inf, np.float16)
    edge[1:-1, 1:-1] = x
    window = Window(out, out, 3, 2 * (size + 2), 2, 1)
    work = work_of("max_pool_places", 9 * out * out * LANES, (3.0, size + 2.0), Over.LANES)
    made, _ = run(replace(work, window=window), [edge])
    lines = made[: out * 2 * out * LANES].reshape(out, 2, out, LANES)
    largest, place = lines[:, 0], lines[:, 1].astype(np.int64)
    close(largest.reshape(-1), pooled.detach()[0].permute(1, 2, 0).contiguous())
    row, column = np.divmod(places[0].permute(1, 2, 0).numpy(), size)
    above = row - (2 * np.arange(out)[:, None, None] - 1)
    left = column - (2 * np.arange(out)[None, :, None] - 1)
    assert np.array_equal(place, 3 * above + left)
    # A border of windows that no pixel won.
    grid = np.zeros((2, out + 1, out + 1, LANES), np.float16)
    grid[1] = -1
    grid[0, :out, :out], grid[1, :out, :out] = g.reshape(out, out, LANES), place
    found = np.zeros((size, size, LANES), np.float16)
    for odd_row in (0, 1):
        for odd_column in (0, 1):
            rows = [(0, 1)] if odd_row == 0 else [(0, 2), (1, 0)]
            columns = [(0, 1)] if odd_column == 0 else [(0, 2), (1, 0)]
            windows = [
                float(number)
                for down, at in rows
                for right, across in columns
                for number in (down * (out + 1) + right, 3 * at + across)
            ]
            work = work_of("max_pool_backward", out * out * LANES, windows, Over.LANES)
            back = Window(out, out, 1, out + 1, 1, 1)
            made, _ = run(replace(work, window=back), [grid[0], grid[1]])
            lines = made[: out * out * LANES].reshape(out, out, LANES)
            found[odd_row::2, odd_column::2] = lines
    assert image.grad is not None
    close(found.reshape(-1), image.grad, 2.0**-10)


def test_every_program_fits_the_registers_on_every_machine() -> None:
    for name, formula in PROGRAMS.items():
        for over in formula.overs:
            for lanes in (2, 4, 64):
                program = compile_program(name, over, lanes, 16)
                assert program.passes > 0 or name == "max_pool_backward"
                assert (program.row_passes > 0) == (over is not Over.EACH)


def test_cycles_are_operations_times_slots() -> None:
    wuve = MACHINE.wuve
    work = work_of("gelu", 1000)
    assert vector_cycles(work, wuve) == -(-250 // 16) * 16 * 8
    soft = work_of("_softmax", 33 * 40, (), Over.LANES, 33)
    assert vector_cycles(soft, wuve) == 3 * 16 * (10 * soft.passes + soft.row_passes)
    strips = strips_of(soft, wuve)
    assert (strips.count, strips.width, strips.used, strips.tail) == (3, 10, 1, 4)


def test_what_the_lanes_cannot_hold_is_refused() -> None:
    with pytest.raises(LaneError, match="no lane program"):
        compile_program("fold")
    with pytest.raises(LaneError, match="allowed: 'lanes'"):
        compile_program("native_layer_norm", Over.SLOTS)
    with pytest.raises(LaneError, match="7 elements in 2 rows"):
        strips_of(Vector(7, 1, "sum", over=Over.LANES, rows=2), MACHINE.wuve)
    kernel = Kernel()
    values = [kernel.copy(math.pi + place) for place in range(9)]
    total = values[0]
    for value in values[1:]:
        total = total + value
    kernel.emit(total)
    with pytest.raises(LaneError, match="more than 8 values"):
        kernel.program("crowd", 1)


def test_lists_are_whole() -> None:
    tested = {*UNARY, *BINARY, *BACKWARD, *BY_RESULT}
    assert tested <= set(ELEMENTWISE)
    assert len(PROGRAMS) == sum(
        len(part) for part in (ELEMENTWISE, SEVERAL, ROWS, PLACES, OPTIMIZERS)
    )
