"""What the recipes declare: operands, axes and schedules of the papers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.models.recipes import RECIPES, REDUCTION, RecipeError, erk_densities, find_recipe

RUN: dict[str, Any] = {"pattern": (2, 8), "steps": 1200}


def sparse(name: str, step: int = 0) -> set[tuple[str, str]]:
    phase = RECIPES[name].bind(**RUN).at(step)
    return {(rule.stage, rule.operand) for rule in phase.rules}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dense", set()),
        ("asp", {("ff", "weight")}),
        ("srste", {("ff", "weight")}),
        ("sdwp", {("bp", "weight")}),
        ("sdgp", {("bp", "output_gradient")}),
        ("naive", {("bp", "output_gradient")}),
        ("bdwp", {("ff", "weight"), ("bp", "weight")}),
        ("bimask", {("ff", "weight"), ("bp", "weight")}),
        ("transposable", {("ff", "weight"), ("bp", "weight")}),
        ("fst", {("ff", "weight"), ("bp", "weight"), ("wu", "output_gradient")}),
        ("sste", {("ff", "weight"), ("wu", "output_gradient")}),
        ("pgf-linear", set()),
        ("pgf-stepwise", {("ff", "weight")}),
        ("lbc", {("ff", "weight")}),
        ("domino", {("ff", "weight")}),
        ("gmp", set()),
        ("swat", set()),
        ("rigl", set()),
    ],
)
def test_what_hardware_can_skip_at_the_first_step(
    name: str, expected: set[tuple[str, str]]
) -> None:
    assert sparse(name) == expected


@pytest.mark.parametrize("name", RECIPES)
def test_every_step_is_consistent(name: str) -> None:
    bound = RECIPES[name].bind(**RUN)
    for step in range(0, 1200, 7):
        phase = bound.at(step)
        for rule in phase.rules:
            assert rule.axis in (REDUCTION[rule.stage], "both")
            assert rule.density is None
        assert len({(rule.stage, rule.operand) for rule in phase.operands}) == len(phase.operands)
        made = {(mask.source, mask.axis) for mask in phase.masks}
        for rule in phase.operands:
            if rule.operand != "weight_gradient":
                assert (rule.operand, rule.axis) in made
        assert phase.fade == 0 or not any(rule.operand == "weight" for rule in phase.operands)


@pytest.mark.parametrize("name", RECIPES)
def test_inference_is_sparse_when_the_last_forward_is(name: str) -> None:
    bound = RECIPES[name].bind(**RUN)
    last = {(rule.stage, rule.operand) for rule in bound.at(1199).operands}
    assert (("ff", "weight") in last) == RECIPES[name].sparse_inference


def test_linear_fade_is_cut_after_three_quarters() -> None:
    bound = RECIPES["pgf-linear"].bind(**RUN)
    assert bound.at(0).fade == 1
    assert bound.at(450).fade == pytest.approx(0.5)
    assert bound.at(899).fade > 0
    assert sparse("pgf-linear", 900) == {("ff", "weight")}


def test_exponential_fade_follows_the_exponential() -> None:
    assert RECIPES["pgf-exponential"].bind(**RUN).at(240).fade == pytest.approx(math.exp(-2))


def patterns(name: str, pattern: tuple[int, int]) -> list[tuple[int, int] | None]:
    bound = RECIPES[name].bind(pattern=pattern, steps=1200)
    seen = [bound.at(step).rules[0].pattern for step in range(1200)]
    return list(dict.fromkeys(seen))


def test_structure_decay_takes_the_papers_patterns() -> None:
    assert patterns("pgf-stepwise", (1, 8)) == [(7, 8), (4, 8), (2, 8), (1, 8)]
    assert patterns("pgf-geometric", (1, 8)) == [(8, 64), (4, 32), (2, 16), (1, 8)]
    assert patterns("pgf-stepwise", (1, 4)) == [(3, 4), (2, 4), (1, 4)]


def test_fst_ends_dense_for_a_sixth() -> None:
    assert sparse("fst", 999)
    assert not sparse("fst", 1000)


def test_gradual_pruning_is_cubic_and_refreshed_every_hundred() -> None:
    bound = RECIPES["gmp"].bind(**RUN)

    def density(step: int) -> float:
        (rule, *_) = bound.at(step).unstructured
        assert rule.density is not None
        return rule.density

    assert bound.at(99).operands == ()
    assert density(450) == density(400) == pytest.approx(1 - 0.75 * (1 - (1 - 400 / 900) ** 3))
    assert density(1100) == pytest.approx(0.25)


def test_rigl_computes_dense_weight_gradients_before_each_update_only() -> None:
    bound = RECIPES["rigl"].bind(**RUN)

    def dense(step: int) -> bool:
        return all(rule.operand != "weight_gradient" for rule in bound.at(step).operands)

    assert [step for step in range(1200) if dense(step)] == list(range(99, 900, 100))
    assert bound.at(900).masks[0].due(900)
    assert not bound.at(1000).masks[0].due(1000)


def test_parameters_are_read_from_the_name() -> None:
    assert find_recipe("srste:decay=0.1").bind().parameters == {"decay": 0.1}
    assert find_recipe("bimask:candidates=0,every=7").bind().parameters["every"] == 7
    assert not find_recipe("bimask:candidates=0").at(0).extras
    assert find_recipe("bimask").at(0).extras


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bdpw", "unknown recipe 'bdpw'; nearest: bdwp"),
        ("srste:decay=-1", "recipe srste: decay is -1; allowed 0 to 1"),
        ("srste:deacy=1", "recipe srste has no parameter 'deacy'; known: decay"),
        ("srste:decay=much", "'decay=much' is no setting; write parameter=number"),
        ("sdwp:decay=1", "recipe sdwp has no parameter 'decay'; known: none"),
    ],
)
def test_a_wrong_recipe_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        find_recipe(text)


def test_steps_are_checked() -> None:
    with pytest.raises(RecipeError, match="steps is 0; it must be at least 1"):
        RECIPES["dense"].bind(steps=0)
    with pytest.raises(RecipeError, match="step is -1; it must be at least 0"):
        RECIPES["dense"].at(-1)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=3),
        st.tuples(*[st.integers(1, 300)] * 2),
        min_size=1,
        max_size=6,
    ),
    st.floats(0.01, 1.0),
)
def test_erk_densities_add_up(shapes: dict[str, tuple[int, ...]], density: float) -> None:
    found = erk_densities(shapes, density)
    total = sum(math.prod(shape) for shape in shapes.values())
    kept = sum(found[name] * math.prod(shape) for name, shape in shapes.items())
    assert all(0 < value <= 1 for value in found.values())
    assert kept == pytest.approx(density * total)


def test_erk_ratios_follow_the_sides() -> None:
    found = erk_densities({"a": (64, 64, 3, 3), "b": (512, 512, 3, 3)}, 0.05)
    assert found["a"] / found["b"] == pytest.approx((134 / 36864) / (1030 / 2359296))
