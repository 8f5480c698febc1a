"""What a recipe does in torch is what it tells the simulator.

A dispatch mode looks at the operands that really reach each matrix product of two layers, a
linear one and a convolution, and compares their zeros with the rules in force at that step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from weft.models.recipes import RECIPES, REDUCTION, Rule
from weft.models.sparse import Sparsifier, sparsifier_of, sparsify

STEPS = 16
LINEAR, CONVOLUTION = "linear", "convolution"


class Net(nn.Module):
    """Convolution and linear layers whose every side differs, so that shapes tell products."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1)
        self.convolution = nn.Conv2d(64, 128, 3, padding=1)
        self.linear = nn.Linear(128, 192)
        self.classifier = nn.Linear(192, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.convolution(torch.tanh(self.stem(x))))
        x = torch.tanh(self.linear(x.flatten(2).mean(2)))
        return self.classifier(x)


class Seen(NamedTuple):
    """Operands of one layer's product, as matrices with their channels in the place of axes."""

    layer: str
    stage: str
    operands: dict[str, torch.Tensor]


class Witness(TorchDispatchMode):
    """Record operands of the linear and the convolution layer, by shape."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Seen] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket._qualified_op_name.removeprefix("aten::")
        self.seen += _WATCHED.get(name, _ignore)(args)
        return func(*args, **(kwargs or {}))


def _ignore(args: tuple[Any, ...]) -> Iterator[Seen]:
    return iter(())


def _addmm(args: tuple[Any, ...]) -> Iterator[Seen]:
    return _mm(args[1:])


def _mm(args: tuple[Any, ...]) -> Iterator[Seen]:
    left, right = args[0].detach().clone(), args[1].detach().clone()
    if right.shape == (128, 192):
        yield Seen(LINEAR, "ff", {"activation": left, "weight": right.t()})
    elif right.shape == (192, 128):
        yield Seen(LINEAR, "bp", {"output_gradient": left, "weight": right})
    elif (left.shape[0], right.shape[1]) == (192, 128):
        yield Seen(LINEAR, "wu", {"output_gradient": left.t(), "activation": right})


def _convolution(args: tuple[Any, ...]) -> Iterator[Seen]:
    if args[1].shape == (128, 64, 3, 3):
        yield Seen(CONVOLUTION, "ff", {"activation": args[0].clone(), "weight": args[1].clone()})


def _convolution_backward(args: tuple[Any, ...]) -> Iterator[Seen]:
    gradient, x, weight, mask = args[0], args[1], args[2], args[-1]
    if weight.shape != (128, 64, 3, 3):
        return
    if mask[0]:
        yield Seen(
            CONVOLUTION, "bp", {"output_gradient": gradient.clone(), "weight": weight.clone()}
        )
    if mask[1]:
        yield Seen(
            CONVOLUTION, "wu", {"output_gradient": gradient.clone(), "activation": x.clone()}
        )


_WATCHED = {
    "mm": _mm,
    "addmm": _addmm,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
}


def groups_along(operand: str, axis: str, tensor: torch.Tensor) -> torch.Tensor:
    """[groups' channels, the rest] with the reduction of ``axis`` first."""
    if operand == "weight":
        return tensor.transpose(0, 1).flatten(1) if axis == "k" else tensor.flatten(1)
    if axis == "o":
        return tensor.transpose(0, 1).flatten(1)
    pixels = tensor.flatten(2).transpose(1, 2) if tensor.dim() == 4 else tensor
    return pixels.reshape(-1, tensor.shape[1])


def most_per_group(channels: torch.Tensor, m: int) -> int:
    whole = channels[: len(channels) // m * m]
    return int((whole.reshape(-1, m, whole.shape[1]) != 0).sum(1).max())


def density(tensor: torch.Tensor) -> float:
    return float((tensor != 0).float().mean())


def check(seen: Seen, sparsifier: Sparsifier) -> None:
    """Compare one product's operands with what the simulator is told of this step."""
    phase = sparsifier.phase
    for operand, tensor in seen.operands.items():
        rules = [r for r in phase.operands if (r.stage, r.operand) == (seen.stage, operand)]
        for rule in rules:
            check_rule(rule, seen, tensor, sparsifier)
        if not rules:
            assert density(tensor) > 0.99, f"{seen.layer} {seen.stage} {operand} is not dense"


def check_rule(rule: Rule, seen: Seen, tensor: torch.Tensor, sparsifier: Sparsifier) -> None:
    n, m = rule.pattern or sparsifier.patterns[seen.layer]
    where = f"{sparsifier.recipe.name} step {sparsifier.now}: {seen.layer} {rule}"
    if rule.density is not None:
        if not any(mask.distribution == "erk" for mask in sparsifier.phase.masks):
            assert density(tensor) == pytest.approx(rule.density, abs=2e-3), where
            return
        # Connections that just grew are zero still, so the mask is counted.
        mask = sparsifier.layers[seen.layer].get_buffer("mask_any")
        wanted = sparsifier.densities[seen.layer]
        assert density(mask) == pytest.approx(wanted, abs=2e-3), where
        assert not bool(tensor[~mask].any()), where
        assert density(tensor) > 0.6 * wanted, where
        return
    if rule.permuted:
        order = sparsifier.layers[seen.layer].get_buffer("mask_order")
        tensor = tensor[order]
    assert density(tensor) <= n / m + 1e-6, where
    if sparsifier.recipe.name != "bimask" or rule.stage == "ff":
        assert density(tensor) > 0.97 * n / m, where
    along = {"both": REDUCTION[rule.stage]}.get(rule.axis, rule.axis)
    assert most_per_group(groups_along(rule.operand, along, tensor), m) == n, where
    if not rule.skippable and rule.operand == "weight":
        # The simulator is told dense, and dense it is along the reduction of this stage.
        across = groups_along(rule.operand, REDUCTION[rule.stage], tensor)
        assert most_per_group(across, m) > n, where


@contextmanager
def trained(recipe: str, pattern: str = "2:8") -> Iterator[tuple[nn.Module, Any]]:
    torch.manual_seed(0)
    model = sparsify(Net(), recipe, pattern, steps=STEPS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x, y = torch.randn(8, 3, 4, 4), torch.randint(10, (8,))

    def step() -> list[Seen]:
        with Witness() as witness:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
        seen = witness.seen
        assert {(s.layer, s.stage) for s in seen} == {
            (layer, stage) for layer in (LINEAR, CONVOLUTION) for stage in ("ff", "bp", "wu")
        }
        check_all(seen)
        optimizer.step()
        return seen

    def check_all(seen: list[Seen]) -> None:
        for product in seen:
            check(product, sparsifier_of(model))

    yield model, step


SHORT = {
    "bimask": "bimask:every=5,candidates=3",
    "transposable": "transposable:every=5",
    "transposable-greedy": "transposable-greedy:every=5",
    "fst": "fst:every=5",
    "gmp": "gmp:every=4",
    "rigl": "rigl:every=5",
    "set": "set:every=5",
    "swat": "swat:period=3",
    "sdgp-rescaled": "sdgp:rescale=1",
}


@pytest.mark.parametrize("name", [*RECIPES, "sdgp-rescaled"])
def test_operands_that_reach_the_products_are_as_declared(name: str) -> None:
    with trained(SHORT.get(name, name)) as (model, step):
        for _ in range(STEPS):
            step()
        assert sparsifier_of(model).now == STEPS


def test_layers_may_have_patterns_of_their_own() -> None:
    torch.manual_seed(0)
    model = sparsify(Net(), "domino", {"linear": "3:16", "convolution": "9:16"})
    x, y = torch.randn(8, 3, 4, 4), torch.randint(10, (8,))
    with Witness() as witness:
        nn.functional.cross_entropy(model(x), y).backward()
    for product in witness.seen:
        check(product, sparsifier_of(model))
    assert sparsifier_of(model).patterns == {"linear": (3, 16), "convolution": (9, 16)}


@pytest.mark.parametrize("name", ["rigl", "set", "static", "asp", "bdwp-masked"])
def test_the_optimizer_sees_masked_gradients_where_declared(name: str) -> None:
    with trained(SHORT.get(name, name)) as (model, step):
        layer: Any = sparsifier_of(model).layers[CONVOLUTION]
        axis = "k" if name in ("asp", "bdwp-masked") else "any"
        for _ in range(STEPS):
            mask = layer.get_buffer(f"mask_{axis}").clone()
            step()
            assert not bool(layer.weight.grad[~mask].any())
            if name != "bdwp-masked":
                now = layer.get_buffer(f"mask_{axis}")
                assert not bool(layer.weight.detach()[~now].any())
                assert int(now.sum()) == int(mask.sum())


def test_rigl_moves_connections_until_three_quarters() -> None:
    with trained("rigl:every=4") as (model, step):
        layer: Any = sparsifier_of(model).layers[LINEAR]
        moved: list[int] = []
        for at in range(STEPS):
            before = layer.get_buffer("mask_any").clone()
            step()
            if not torch.equal(before, layer.get_buffer("mask_any")):
                moved.append(at + 1)
    # At 12 of 16 the share to drop is zero.
    assert moved == [4, 8]


@pytest.mark.parametrize(
    "name", ["dense", "srste", "sdwp", "sdgp", "bdwp", "transposable", "asp", "bimask"]
)
def test_the_simulator_prices_the_layers_that_torch_made_sparse(name: str) -> None:
    from weft.mapper.sparsity.sparsify import SkipRules, apply_recipe
    from weft.sim.pattern import Pattern
    from weft.simulation import trace_workload

    model = sparsify(Net(), name, "2:8")
    sparsifier = sparsifier_of(model)
    workload = trace_workload(Net(), torch.randn(8, 3, 4, 4), lambda y: y.square().mean())
    applied = apply_recipe(workload, sparsifier.recipe, Pattern(2, 8), skip=SkipRules())
    priced = {(p.name, str(p.stage)) for p in applied.workload.products if p.sparse_operand}
    told = {(layer, rule.stage) for layer in sparsifier.layers for rule in sparsifier.phase.rules}
    assert priced == told
