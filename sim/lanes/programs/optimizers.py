"""Optimizer steps: word 0 is the master weight, those after it the state; input 0 the gradient."""

from __future__ import annotations

import numpy as np

from weft.sim.lanes import Emit, Kernel, Value
from weft.sim.lanes.programs.formula import Formula, reciprocal, sqrt

__all__ = ["OPTIMIZERS"]


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
    return first * reciprocal(k, sqrt(k, second) + epsilon)


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
