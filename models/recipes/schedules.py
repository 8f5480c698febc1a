"""The schedules of the recipes: what holds at a step, from reference settings of the papers."""

from __future__ import annotations

from collections.abc import Callable

from weft.models.recipes.recipe import Bound, Extra, Mask, Phase, Rule

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


def always(operands: tuple[Rule, ...] = (), masks: tuple[Mask, ...] = ()) -> Schedule:
    """The same at every step."""
    phase = Phase(operands, masks)
    return lambda bound, step: phase


def transposable(selection: str) -> Schedule:
    """One mask valid both ways, refreshed every ``every`` steps."""

    def at(bound: Bound, step: int) -> Phase:
        mask = Mask("weight", "both", int(bound.parameters["every"]), selection)  # pyright: ignore[reportArgumentType]
        return Phase((Rule("ff", "weight", "both"), Rule("bp", "weight", "both")), (mask,))

    return at


def bidirectional_mask(bound: Bound, step: int) -> Phase:
    """FF mask along K; BP mask inside it, N:M along O on permuted output channels."""
    candidates = int(bound.parameters["candidates"])
    every = int(bound.parameters["every"])
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
        return Phase()
    every = int(bound.parameters["every"])
    return Phase(
        (
            Rule("ff", "weight", "both"),
            Rule("bp", "weight", "both"),
            Rule("wu", "output_gradient", "t"),
        ),
        (
            Mask("weight", "both", every, "transposable"),
            Mask("output_gradient", "t", selection="mvue"),
        ),
    )


def fading(factor: Callable[[float], float]) -> Schedule:
    """PGF by mask decay: dropped weights fade by ``factor`` of (rate x t), then are cut.

    t is the step as a share of the run; below ``floor`` the weights are cut.
    """

    def at(bound: Bound, step: int) -> Phase:
        left = factor(bound.parameters["rate"] * step / bound.steps)
        masks = (Mask("weight", "k"),)
        if left > bound.parameters["floor"]:
            return Phase((), masks, fade=left)
        return Phase((FF_WEIGHT, BP_SAME), masks)

    return at


def stepwise(patterns: Callable[[Bound], list[tuple[int, int]]]) -> Schedule:
    """PGF by structure decay: patterns follow each other over the first ``share`` of the run."""

    def at(bound: Bound, step: int) -> Phase:
        order = patterns(bound)
        length = bound.steps * bound.parameters["share"] / max(1, len(order) - 1)
        now = order[min(int(step / length), len(order) - 1)]
        operands = (
            Rule("ff", "weight", "k", pattern=now),
            Rule("bp", "weight", "k", pattern=now),
        )
        return Phase(operands, (Mask("weight", "k", pattern=now),))

    return at


def halving(bound: Bound) -> list[tuple[int, int]]:
    """M - 1 of M, then half of M, a quarter, ... down to N: 7:8, 4:8, 2:8, 1:8 for 1:8."""
    n, m = bound.pattern or (1, 8)
    kept = [m - 1]
    while kept[-1] > n:
        kept.append(max(n, m // 2 if len(kept) == 1 else kept[-1] // 2))
    return [(count, m) for count in kept]


def geometric(bound: Bound) -> list[tuple[int, int]]:
    """The same density in ever smaller groups: 8:64, 4:32, 2:16, 1:8 for 1:8."""
    n, m = bound.pattern or (1, 8)
    return [(n * scale, m * scale) for scale in (8, 4, 2, 1)]


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
    mask = Mask("weight", "any", every, density=density)
    if density == 1:
        return Phase()
    return Phase(
        (Rule("ff", "weight", density=density), Rule("bp", "weight", density=density)), (mask,)
    )


def swat(bound: Bound, step: int) -> Phase:
    """Unstructured: top weights in FF and BP, top activations in WU."""
    density = bound.density
    return Phase(
        (
            Rule("ff", "weight", density=density),
            Rule("bp", "weight", density=density),
            Rule("wu", "activation", density=density),
        ),
        (
            Mask("weight", "any", int(bound.parameters["period"]), density=density),
            Mask("activation", "any", density=density),
        ),
    )


def sparse_to_sparse(selection: str) -> Schedule:
    """Unstructured with ERK densities; RigL computes dense weight gradients on update steps."""

    def at(bound: Bound, step: int) -> Phase:
        density = bound.density
        every = int(bound.parameters.get("every", 0))
        if every and step > bound.parameters["share"] * bound.steps:
            every = 0
        mask = Mask("weight", "any", every, selection, density=density, distribution="erk")  # pyright: ignore[reportArgumentType]
        operands = [Rule("ff", "weight", density=density), Rule("bp", "weight", density=density)]
        if selection != "magnitude-drop-gradient-grow" or not updates_now(bound, step):
            operands.append(Rule("wu", "weight_gradient", density=density))
        return Phase(tuple(operands), (mask,))

    return at


def updates_now(bound: Bound, step: int) -> bool:
    """Whether the connectivity is updated with the gradients of ``step``.

    The mask made for step s uses the gradients of step s - 1.
    """
    every = int(bound.parameters["every"])
    last = bound.parameters["share"] * bound.steps
    return (step + 1) % every == 0 and step + 1 <= last
