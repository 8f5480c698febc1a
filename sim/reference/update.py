"""Values of WUVE's optimizer steps.

Banks hold rounds of ``lanes`` elements. For an update ``vector_in`` is the master weights of all
rounds, then (with momentum) the velocities; ``vector_half_in`` the FP16 gradients. The results lie
alike in ``vector_out``, with the FP16 copy of the weights in ``vector_half_out``. AdamW has the
first moments where SGD has velocities, and the second moments behind them.

Every operation is rounded to FP32, NaN is canonical:
d = gradient + decay w; v' = momentum v + d (without momentum v' = d); w' = w - rate v'.
AdamW: m' = m + blend (gradient - m); v' = keep v + (1 - keep) gradient^2;
w' = decay w - rate (m' x 1 / (sqrt(v') + epsilon)), with the root and the reciprocal of WUVE's
function unit (``weft.sim.lanes.functions``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from weft.sim.lanes.functions import Function, evaluate
from weft.sim.program import Update
from weft.sim.program.timing import ceil_div
from weft.sim.reference.banks import NAN32, PlaceError, Store, narrow
from weft.sim.reference.bind import Bound

__all__ = ["adamw", "adamw_constants", "sgd", "update"]

STATES = {"sgd": 0, "sgd-momentum": 1, "adamw": 2}
"""State tensors of the optimizers that have values."""

Floats = NDArray[np.float32]


def sgd(
    weight: Floats, velocity: Floats | None, gradient: Floats, constants: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """(w', v') of one step; ``velocity`` is None without momentum."""
    given: Floats = np.array(constants, np.float32)
    rate: Floats = given[0:1]
    momentum: Floats = given[1:2]
    decay: Floats = given[2:3]
    with np.errstate(all="ignore"):
        moved: Floats = np.add(gradient, np.multiply(decay, weight), dtype=np.float32)
        if velocity is not None:
            moved = np.add(np.multiply(momentum, velocity), moved, dtype=np.float32)
        return np.subtract(weight, np.multiply(rate, moved), dtype=np.float32), moved


def adamw_constants(
    rate: float, beta1: float, beta2: float, epsilon: float, decay: float, step: int
) -> tuple[float, float, float, float, float]:
    """decay, keep, rate, blend and epsilon of the ``step``-th AdamW step (the first is 1).

    The corrections of both moments' bias go into rate and epsilon (Kingma and Ba, Adam, 2015, end
    of section 2), the decoupled weight decay into a factor (Loshchilov and Hutter 2019).
    """
    second = (1 - beta2**step) ** 0.5
    return 1 - rate * decay, beta2, rate * second / (1 - beta1**step), 1 - beta1, epsilon * second


def adamw(
    weight: Floats, first: Floats, second: Floats, gradient: Floats, constants: tuple[float, ...]
) -> tuple[Floats, Floats, Floats]:
    """(w', m', v') of one step."""
    given: Floats = np.array(constants, np.float32)
    decay, keep, rate, blend, epsilon = (given[i : i + 1] for i in range(5))
    with np.errstate(all="ignore"):
        moved: Floats = first + blend * (gradient - first)
        lose: Floats = np.float32(1) - keep
        spread: Floats = keep * second + lose * (gradient * gradient)
        root = _function(Function.RECIPROCAL, _function(Function.RSQRT, spread))
        step: Floats = rate * (moved * _function(Function.RECIPROCAL, root + epsilon))
        return np.subtract(decay * weight, step, dtype=np.float32), moved, spread


def _function(which: Function, values: Floats) -> Floats:
    return evaluate(which, np.ascontiguousarray(values).view(np.uint32)).view(np.float32)


def _bits(values: Floats) -> NDArray[np.uint32]:
    bits = values.astype(np.float32).view(np.uint32).copy()
    bits[np.isnan(values)] = NAN32
    return bits


def update(store: Store, bound: Bound, work: Update) -> None:
    """One optimizer step on the vector banks.

    Raises:
        PlaceError: an optimizer without values, missing constants, or a bank that is too small.
    """
    if work.optimizer not in STATES:
        raise PlaceError(f"optimizer {work.optimizer!r} has no values; known: {', '.join(STATES)}")
    wanted = 5 if work.optimizer == "adamw" else 3
    if len(work.constants) != wanted:
        raise PlaceError(f"an update by {work.optimizer} needs {wanted} constants")
    lanes = store.machine.wuve.lanes
    count = ceil_div(work.elements, lanes) * lanes
    words = store.bank("vector_in", bound).view(np.float32)
    halves = store.bank("vector_half_in", bound).view(np.float16)
    states = STATES[work.optimizer]
    if count * (1 + states) > words.size:
        raise PlaceError(f"{work.elements} weights and their state do not fit a vector bank")
    state = [words[count * (i + 1) : count * (i + 2)] for i in range(states)]
    gradient = halves[:count].astype(np.float32)
    weight, *moved = (
        adamw(words[:count], state[0], state[1], gradient, work.constants)
        if work.optimizer == "adamw"
        else sgd(words[:count], state[0] if state else None, gradient, work.constants)
    )
    out = store.bank("vector_out", bound).view(np.uint32)
    out[:count] = _bits(weight)
    for index, values in enumerate(moved[:states]):
        out[count * (index + 1) : count * (index + 2)] = _bits(values)
    store.bank("vector_half_out", bound).view(np.uint16)[:count] = narrow(_bits(weight))
