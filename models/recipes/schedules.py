"""The schedules of the recipes: what holds at a step, from reference settings of the papers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal

from weft.models.recipes.recipe import Bound, Extra, Mask, Phase, Rule, Selection

__all__ = [
    "always",
    "bidirectional_mask",
    "cubic_sparsity",
    "decayed_transposable",
    "fading",
    "geometric",
    "gradual_magnitude",
    "halving",
    "sparse_to_sparse",
    "stepwise",
    "swat",
    "transposable",
    "updates_now",
]

Schedule = Callable[[Bound, int], Phase]

FF_WEIGHT = Rule("ff", "weight", "k")
BP_SAME = Rule("bp", "weight", "k")
"""BP reads the weights as FF masked them: zeros that lie across BP's reduction."""
BP_WEIGHT = Rule("bp", "weight", "o")
MASK_K = (Mask("weight", "k"),)
CUT = Phase((FF_WEIGHT, BP_SAME), MASK_K)
"""N:M in FF, the same zeros in BP."""
DENSE = Phase()


def always(operands: tuple[Rule, ...] = (), masks: tuple[Mask, ...] = ()) -> Schedule:
    """The same at every step."""
    phase = Phase(operands, masks)
    return lambda bound, step: phase


def transposable(selection: Selection) -> Schedule:
    """One mask valid both ways, refreshed every ``every`` steps."""
    return lambda bound, step: _both_ways(int(bound.parameters["every"]), selection, unbiased=False)


@lru_cache
def _both_ways(every: int, selection: Selection, *, unbiased: bool) -> Phase:
    """Transposable weights; with ``unbiased``, MVUE of the output gradients for WU too."""
    operands = [Rule("ff", "weight", "both"), Rule("bp", "weight", "both")]
    masks = [Mask("weight", "both", every, selection)]
    if unbiased:
        operands.append(Rule("wu", "output_gradient", "t"))
        masks.append(Mask("output_gradient", "t", selection="mvue"))
    return Phase(tuple(operands), tuple(masks))


def bidirectional_mask(bound: Bound, step: int) -> Phase:
    """FF mask along K; BP mask inside it, N:M along O on permuted output channels."""
    return _bidirectional(int(bound.parameters["candidates"]), int(bound.parameters["every"]))


@lru_cache
def _bidirectional(candidates: int, every: int) -> Phase:
    permuted = candidates > 0
    operands = (FF_WEIGHT, Rule("bp", "weight", "o", permuted=permuted))
    masks = (Mask("weight", "k"), Mask("weight", "o", selection="inside-k"))
    if not permuted:
        return Phase(operands, masks)
    extras = (
        Extra("gather", "output_gradient", "bp"),
        Extra("permutation-search", "weight", "bp", every, candidates),
    )
    return Phase(operands, masks, extras)


def decayed_transposable(bound: Bound, step: int) -> Phase:
    """FST: transposable weights and MVUE gradients, then dense for the last part of the run."""
    if step >= bound.steps - round(bound.steps * bound.parameters["dense_share"]):
        return DENSE
    return _both_ways(int(bound.parameters["every"]), "transposable", unbiased=True)


def fading(factor: Callable[[float], float]) -> Schedule:
    """PGF by mask decay: dropped weights fade by ``factor`` of (rate x t), then are cut.

    t is the step as a share of the run; below ``floor`` the weights are cut.
    """

    def at(bound: Bound, step: int) -> Phase:
        left = factor(bound.parameters["rate"] * step / bound.steps)
        return Phase((), MASK_K, fade=left) if left > bound.parameters["floor"] else CUT

    return at


def stepwise(
    patterns: Callable[[tuple[int, int]], tuple[tuple[int, int], ...]],
) -> Schedule:
    """PGF by structure decay: patterns follow each other over the first ``share`` of the run."""

    def at(bound: Bound, step: int) -> Phase:
        order = patterns(bound.pattern or (1, 8))
        length = bound.steps * bound.parameters["share"] / max(1, len(order) - 1)
        return _with_pattern(order[min(int(step / length), len(order) - 1)])

    return at


@lru_cache
def _with_pattern(now: tuple[int, int]) -> Phase:
    operands = (Rule("ff", "weight", "k", pattern=now), Rule("bp", "weight", "k", pattern=now))
    return Phase(operands, (Mask("weight", "k", pattern=now),))


@lru_cache
def halving(pattern: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """M - 1 of M, then half of M, a quarter, ... down to N: 7:8, 4:8, 2:8, 1:8 for 1:8."""
    n, m = pattern
    kept = [m - 1]
    while kept[-1] > n:
        kept.append(max(n, m // 2 if len(kept) == 1 else kept[-1] // 2))
    return tuple((count, m) for count in kept)


@lru_cache
def geometric(pattern: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    """The same density in ever smaller groups: 8:64, 4:32, 2:16, 1:8 for 1:8."""
    n, m = pattern
    return tuple((n * scale, m * scale) for scale in (8, 4, 2, 1))


def cubic_sparsity(final: float, start: float, end: float, time: float) -> float:
    """Sparsity at ``time`` that rises from 0 at ``start`` to ``final`` at ``end``.

    Zhu and Gupta, arXiv 1710.01878: s_f - s_f (1 - (t - t0) / (t1 - t0))^3.
    """
    if time <= start:
        return 0.0
    return final * (1 - max(0.0, 1 - (time - start) / (end - start)) ** 3)


def gradual_magnitude(bound: Bound, step: int) -> Phase:
    """Unstructured magnitude pruning; density falls on a cubic at each refresh."""
    every = int(bound.parameters["every"])
    refreshed = (step - step % every) / bound.steps
    share = bound.parameters["share"]
    density = 1 - cubic_sparsity(1 - bound.density, 0.0, share, refreshed)
    return DENSE if density == 1 else _unstructured(density, every, "magnitude", "uniform")


@lru_cache(maxsize=4096)
def _unstructured(
    density: float,
    every: int,
    selection: Selection,
    distribution: Literal["uniform", "erk"],
    *more: Rule,
) -> Phase:
    """Weights of ``density`` in FF and BP, and ``more``."""
    mask = Mask("weight", "any", every, selection, density=density, distribution=distribution)
    weights = (Rule("ff", "weight", density=density), Rule("bp", "weight", density=density))
    return Phase((*weights, *more), (mask,))


def swat(bound: Bound, step: int) -> Phase:
    """Unstructured: top weights in FF and BP, top activations in WU."""
    return _swat(bound.density, int(bound.parameters["period"]))


@lru_cache
def _swat(density: float, period: int) -> Phase:
    activation = Rule("wu", "activation", density=density)
    phase = _unstructured(density, period, "magnitude", "uniform", activation)
    return Phase(phase.operands, (*phase.masks, Mask("activation", "any", density=density)))


def sparse_to_sparse(selection: Selection) -> Schedule:
    """Unstructured with ERK densities; RigL computes dense weight gradients on update steps."""
    grows_by_gradient = selection == "magnitude-drop-gradient-grow"

    def at(bound: Bound, step: int) -> Phase:
        every = int(bound.parameters.get("every", 0))
        if every and step > bound.parameters["share"] * bound.steps:
            every = 0
        if grows_by_gradient and updates_now(bound, step):
            return _unstructured(bound.density, every, selection, "erk")
        gradient = Rule("wu", "weight_gradient", density=bound.density)
        return _unstructured(bound.density, every, selection, "erk", gradient)

    return at


def updates_now(bound: Bound, step: int) -> bool:
    """Whether the connectivity is updated with the gradients of ``step``.

    The mask made for step s uses the gradients of step s - 1.
    """
    every = int(bound.parameters["every"])
    last = bound.parameters["share"] * bound.steps
    return (step + 1) % every == 0 and step + 1 <= last
