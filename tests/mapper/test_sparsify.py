"""Recipes as workload transforms: operand, axis and stage as the papers have them."""

from __future__ import annotations

import dataclasses

import pytest

from tests.mapper.products import product
from weft.mapper.sparsity.sparsify import SkipRules, apply_recipe
from weft.models.recipes import RECIPES
from weft.sim.pattern import Pattern
from weft.sim.workload import (
    MaskWork,
    Operand,
    Product,
    Role,
    Stage,
    UpdateOp,
    VectorOp,
    Workload,
)

PATTERN = Pattern(2, 8)


def layer(name: str, position: int, source: int | None, k: int = 64, n: int = 64) -> Product:
    made = product(Stage.FF, 32, k, n)
    weight = dataclasses.replace(made.right, parameter=f"{name}.weight")
    inputs = () if source is None else (source,)
    return dataclasses.replace(made, name=name, right=weight, inputs=inputs)


def workload(middle: int = 64) -> Workload:
    """Three linear layers: forward, backward and update."""
    forward = [
        layer("stem", 0, None, 64, middle),
        layer("body", 1, 0, middle, 64),
        layer("head", 2, 1),
    ]
    items: list[Product | UpdateOp] = [*forward]
    for index in (2, 1, 0):
        made = forward[index]
        gradient = Operand(Role.GRADIENT, 32 * made.n)
        previous = (len(items) - 2,) if index < 2 else (2,)
        if index:
            items.append(
                dataclasses.replace(
                    made, stage=Stage.BP, k=made.n, n=made.k, left=gradient, inputs=previous
                )
            )
        items.append(
            dataclasses.replace(
                made,
                stage=Stage.WU,
                m=made.k,
                k=32,
                left=Operand(Role.ACTIVATION, 32 * made.k),
                right=gradient,
                output=Operand(Role.WEIGHT, made.k * made.n, parameter=f"{made.name}.weight"),
                inputs=previous,
            )
        )
    for position, item in enumerate(list(items)):
        if isinstance(item, Product) and item.stage is Stage.WU:
            items.append(
                UpdateOp(item.name, f"{item.name}.weight", item.m * item.n, inputs=(position,))
            )
    return Workload("mlp", 32, tuple(items))


def sparse_stages(recipe: str, **options: object) -> set[tuple[str, Stage, str]]:
    applied = apply_recipe(workload(), RECIPES[recipe], PATTERN, **options)  # pyright: ignore[reportArgumentType]
    return {
        (item.name, item.stage, item.sparse_operand)
        for item in applied.workload.products
        if item.sparse_operand
    }


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("dense", set()),
        ("srste", {("body", Stage.FF, "right")}),
        ("sdwp", {("body", Stage.BP, "right")}),
        ("sdgp", {("body", Stage.BP, "left")}),
        ("bdwp", {("body", Stage.FF, "right"), ("body", Stage.BP, "right")}),
        ("transposable", {("body", Stage.FF, "right"), ("body", Stage.BP, "right")}),
    ],
)
def test_each_recipe_prunes_its_operand_between_stem_and_classifier(
    recipe: str, expected: set[tuple[str, Stage, str]]
) -> None:
    assert sparse_stages(recipe) == expected


def test_stem_and_classifier_can_be_pruned_too() -> None:
    found = sparse_stages("srste", skip=SkipRules(stem=False, classifier=False))
    assert {name for name, _, _ in found} == {"stem", "body", "head"}


def test_named_layers_stay_dense() -> None:
    assert sparse_stages("bdwp", skip=SkipRules(names=frozenset({"body"}))) == set()


def test_a_reduction_shorter_than_a_group_stays_dense() -> None:
    applied = apply_recipe(workload(6), RECIPES["srste"], PATTERN)
    assert applied.dense["body"] == "reduction has 6 channels, fewer than 8"
    assert not any(item.sparse_operand for item in applied.workload.products)


def test_padding_of_the_last_group_is_counted() -> None:
    applied = apply_recipe(workload(12), RECIPES["srste"], PATTERN)
    assert applied.padded_macs == 32 * 64 * (4 - 3)


def masks(recipe: str, **options: object) -> list[MaskWork]:
    applied = apply_recipe(workload(), RECIPES[recipe], PATTERN, **options)  # pyright: ignore[reportArgumentType]
    items = applied.workload.items
    for position, item in enumerate(items):
        assert all(source < position for source in item.inputs)
    return [item for item in items if isinstance(item, MaskWork)]


def test_bdwp_pregenerates_both_layouts_behind_the_update() -> None:
    found = masks("bdwp")
    assert [(mask.axis, mask.source, mask.elements) for mask in found] == [
        ("k", "weight", 4096),
        ("o", "weight", 4096),
    ]
    items = apply_recipe(workload(), RECIPES["bdwp"], PATTERN).workload.items
    for mask in found:
        assert isinstance(items[mask.inputs[0]], UpdateOp)


def test_without_pregeneration_the_product_waits_for_its_mask() -> None:
    applied = apply_recipe(workload(), RECIPES["bdwp"], PATTERN, pregenerate=False)
    items = applied.workload.items
    waiting = [item for item in items if isinstance(item, Product) and item.sparse_operand]
    assert len(waiting) == 2
    for item in waiting:
        assert isinstance(items[item.inputs[-1]], MaskWork)


def test_sdgp_prunes_the_gradient_before_the_backward_product() -> None:
    (mask,) = masks("sdgp")
    assert (mask.source, mask.elements) == ("gradient", 32 * 64)


@pytest.mark.parametrize("step", [0, 1, 40])
def test_weights_are_packed_again_after_every_update(step: int) -> None:
    assert [mask.axis for mask in masks("transposable", step=step)] == ["k", "o"]


def test_gradients_pruned_along_tokens_shorten_the_weight_gradient() -> None:
    recipe = RECIPES["fst"].bind((2, 4), 600)
    applied = apply_recipe(workload(), recipe, Pattern(2, 4))
    (product,) = [p for p in applied.workload.products if p.stage is Stage.WU and p.sparse_operand]
    assert (product.sparse_operand, product.macs_done) == ("right", product.macs_dense // 2)
    late = apply_recipe(workload(), recipe, Pattern(2, 4), step=599)
    assert not any(item.sparse_operand for item in late.workload.products)


def test_what_the_machine_cannot_skip_is_dense_and_said() -> None:
    applied = apply_recipe(workload(), RECIPES["gmp"].bind((2, 8), 1000), PATTERN, step=999)
    assert applied.workload.macs_done == applied.workload.macs_dense
    assert any("unstructured" in note for note in applied.notes)
    wide = apply_recipe(workload(), RECIPES["pgf-geometric"].bind((2, 8), 1000), PATTERN)
    assert wide.dense["body"] == "groups of 64 are more than the machine's 16"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_applies_at_every_part_of_its_schedule(name: str) -> None:
    recipe = RECIPES[name].bind((2, 8), 1000)
    for step in (0, 1, 40, 333, 700, 999):
        applied = apply_recipe(workload(), recipe, PATTERN, step=step)
        for position, item in enumerate(applied.workload.items):
            assert all(source < position for source in item.inputs)


@pytest.mark.parametrize(("step", "passes"), [(0, 2 + 10), (1, 2), (99, 2), (100, 2 + 10)])
def test_candidate_permutations_cost_a_pass_each_when_due(step: int, passes: int) -> None:
    assert len(masks("bimask", step=step)) == passes


def test_a_permuted_product_waits_for_its_gathered_gradients() -> None:
    items = apply_recipe(workload(), RECIPES["bimask"], PATTERN, step=1).workload.items
    (product,) = [
        p for p in items if isinstance(p, Product) and p.stage is Stage.BP and p.name == "body"
    ]
    gather = items[product.inputs[-1]]
    assert isinstance(gather, VectorOp)
    assert (gather.op, gather.reads, gather.writes) == ("gather", 32 * 64, 32 * 64)
    assert not any(isinstance(item, VectorOp) for item in _without_permutation())


def _without_permutation() -> tuple[object, ...]:
    recipe = RECIPES["bimask"].bind((2, 8), 1000, candidates=0)
    return apply_recipe(workload(), recipe, PATTERN, step=1).workload.items


def test_fading_weights_are_selected_and_scaled_after_every_update() -> None:
    recipe = RECIPES["pgf-linear"].bind((2, 8), 1000)
    applied = apply_recipe(workload(), recipe, PATTERN, step=5)
    assert applied.workload.macs_done == applied.workload.macs_dense
    (fade,) = [item for item in applied.workload.items if isinstance(item, VectorOp)]
    mask = applied.workload.items[fade.inputs[0]]
    assert isinstance(mask, MaskWork)
    assert (fade.op, fade.elements, mask.axis) == ("fade", 64 * 64, "k")
    cut = apply_recipe(workload(), recipe, PATTERN, step=999).workload
    assert cut.macs_done < cut.macs_dense
    assert not any(isinstance(item, VectorOp) for item in cut.items)
