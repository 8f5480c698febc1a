"""Drive a model's sparse layers through the schedule of a recipe.

The sparsifier hears of every step of any PyTorch optimizer that holds the model's weights; with
another optimizer call ``before_update`` and ``after_update`` around its step. It is no module:
the layers hold it, and what must be saved with the model lies in their buffers.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from weft.models.recipes import Bound, Mask, Phase, Rule
from weft.models.sparse.layers import Sparse, channels
from weft.models.sparse.masks import FROM_WEIGHTS, Context, make_mask, set_buffer
from weft.models.sparse.products import Pruning

__all__ = ["Sparsifier"]

_ACTIVE: weakref.WeakSet[Sparsifier] = weakref.WeakSet()


class Sparsifier:
    """What a recipe does to a model, step by step.

    Attributes:
        recipe: the recipe bound to the run; what hardware is told comes from the same object.
        patterns: (n, m) by layer.
        densities: share kept by layer, for unstructured masks.
        dense: why each other layer stays dense.
    """

    def __init__(
        self,
        recipe: Bound,
        layers: Mapping[str, Sparse],
        patterns: Mapping[str, tuple[int, int]],
        densities: Mapping[str, float],
        dense: Mapping[str, str],
        seed: int,
    ) -> None:
        self.recipe = recipe
        self.patterns = dict(patterns)
        self.densities = dict(densities)
        self.dense = dict(dense)
        self.seed = seed
        self._layers = tuple(layers.items())
        self._gradients: dict[str, torch.Tensor] = {}
        self._now = 0
        for layer in layers.values():
            layer.sparsity.owner = self
        self._save_step()
        self._refresh(everything=True)
        _ACTIVE.add(self)

    @property
    def layers(self) -> dict[str, Sparse]:
        """The sparse layers by name."""
        return dict(self._layers)

    @property
    def now(self) -> int:
        """The step that the next forward belongs to."""
        return self._now

    @property
    def phase(self) -> Phase:
        """What holds now."""
        return self.recipe.at(self._now)

    def weight_density(self) -> float:
        """Share of the weights that FF reads now, over all layers that may be sparse."""
        kept = total = 0
        for _, layer in self._layers:
            weight = layer.masked(layer.weight.detach(), layer.sparsity.forward_axis)
            kept += int(weight.count_nonzero())
            total += weight.numel()
        return kept / total if total else 1.0

    def before_update(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Before the optimizer's step: mask gradients, and pull dropped weights to zero."""
        held = None if optimizer is None else _parameters(optimizer)
        with torch.no_grad():
            for name, layer in self._layers:
                weight: nn.Parameter = layer.weight
                if weight.grad is not None and (held is None or id(weight) in held):
                    self._prepare(name, layer, weight, weight.grad)

    def _prepare(
        self, name: str, layer: Sparse, weight: torch.Tensor, gradient: torch.Tensor
    ) -> None:
        state = layer.sparsity
        phase = self.phase
        if self._keeps_gradients(phase):
            self._gradients[name] = gradient.clone()
        if phase.fade and state.forward_axis:
            mask = layer.get_buffer(f"mask_{state.forward_axis}")
            gradient.mul_(torch.where(mask, 1.0, phase.fade))
        for mask in self._gradient_masks(phase, layer):
            gradient.masked_fill_(~mask, 0.0)
        decay = self.recipe.parameters.get("decay", 0.0)
        if decay and state.forward_axis:
            dropped = ~layer.get_buffer(f"mask_{state.forward_axis}")
            gradient.add_(torch.where(dropped, weight, 0.0), alpha=decay)

    def _keeps_gradients(self, phase: Phase) -> bool:
        following = self.recipe.at(self._now + 1)
        wanted = ("combination", "magnitude-drop-gradient-grow")
        return any(m.selection in wanted and m.due(self._now + 1) for m in following.masks)

    def _gradient_masks(self, phase: Phase, layer: Sparse) -> list[torch.Tensor]:
        """Masks of gradients that WU need not make, or that the optimizer must not see."""
        frozen = [rule for rule in phase.operands if rule.operand == "weight_gradient"]
        if not frozen and self.recipe.recipe.hard:
            frozen = [rule for rule in phase.operands if rule.operand == "weight"][:1]
        names = [f"mask_{rule.axis}" for rule in frozen]
        return [layer.get_buffer(name) for name in names if name in layer._buffers]

    def after_update(self) -> None:
        """After the optimizer's step: the next step's masks from the new weights."""
        self._now += 1
        self._save_step()
        self._refresh()
        self._gradients.clear()

    def refresh(self) -> None:
        """Make the masks that every step makes, from the weights as they are."""
        self._refresh()

    def catch_up(self, layer: Sparse) -> None:
        """Make a layer's masks again if its weight changed outside an optimizer's step."""
        state = layer.sparsity
        weight: nn.Parameter = layer.weight
        if state.version != weight._version and type(weight) is nn.Parameter:
            self._refresh_layer(state.name, layer, self.phase, moved=False)

    def _refresh(self, *, everything: bool = False) -> None:
        phase = self.phase
        for name, layer in self._layers:
            self._refresh_layer(name, layer, phase, everything=everything)

    def _refresh_layer(
        self,
        name: str,
        layer: Sparse,
        phase: Phase,
        *,
        everything: bool = False,
        moved: bool = True,
    ) -> None:
        """Make the masks that are due; without ``moved`` only those that weights alone give."""
        for mask in phase.masks:
            plain = mask.every == 1 and mask.selection in FROM_WEIGHTS
            due = mask.due(self._now) if moved else plain
            if mask.source == "weight" and (due or everything or not self._has(layer, mask)):
                self._make(name, layer, mask, moved=moved)
        if self.recipe.recipe.hard and phase.masks:
            # Momentum and weight decay would bring dropped weights back.
            dropped = ~layer.get_buffer(f"mask_{phase.masks[0].axis}")
            layer.weight.detach().masked_fill_(dropped, 0.0)
        self._set_state(name, layer, phase)

    def _has(self, layer: Sparse, mask: Mask) -> bool:
        buffer = "soft_weight" if mask.selection == "soft-threshold" else f"mask_{mask.axis}"
        return buffer in layer._buffers

    def _make(self, name: str, layer: Sparse, mask: Mask, *, moved: bool) -> None:
        pattern = mask.pattern or self.patterns[name]
        axes = ("k", "o") if mask.axis == "both" else (mask.axis,)
        if mask.axis != "any" and any(channels(layer, axis) < pattern[1] for axis in axes):
            return
        density = mask.density or 1.0
        if mask.distribution == "erk":
            density = self.densities[name]
        context = Context(
            self._now,
            self.recipe.steps,
            pattern,
            density,
            self.recipe.parameters,
            _mixed(self.seed, self._now, name),
            self._gradients.get(name),
            not self._has(layer, mask),
            moved,
        )
        make_mask(layer, mask, context)

    def _set_state(self, name: str, layer: Sparse, phase: Phase) -> None:
        """What ``forward`` reads: the axis of each weight, and what backward prunes."""
        state = layer.sparsity
        rules = {(rule.stage, rule.operand): rule for rule in phase.operands}
        state.forward_axis = self._axis(layer, phase, rules.get(("ff", "weight")))
        state.backward_axis = self._axis(layer, phase, rules.get(("bp", "weight")))
        state.faded = phase.fade > 0
        if phase.fade and "mask_k" in layer._buffers:
            state.forward_axis = state.backward_axis = "k"
        layer.get_buffer("fade").fill_(phase.fade)
        state.pruning = self._pruning(name, layer, phase)
        weight: nn.Parameter = layer.weight
        state.version = weight._version

    def _axis(self, layer: Sparse, phase: Phase, rule: Rule | None) -> str:
        if rule is None:
            return ""
        soft = any(mask.selection == "soft-threshold" for mask in phase.masks)
        if soft and "soft_weight" in layer._buffers:
            return "soft"
        return rule.axis if f"mask_{rule.axis}" in layer._buffers else ""

    def _pruning(self, name: str, layer: Sparse, phase: Phase) -> Pruning:
        rules = {(rule.stage, rule.operand): rule for rule in phase.operands}
        bp = rules.get(("bp", "output_gradient"))
        wu = rules.get(("wu", "output_gradient"))
        x = rules.get(("wu", "activation"))
        pattern = self.patterns[name]
        return Pruning(
            bp=(bp.pattern or pattern) if bp else None,
            rescale=bool(self.recipe.parameters.get("rescale", 0)),
            wu_same=wu is not None and wu.axis == "o",
            wu=(wu.pattern or pattern) if wu is not None and wu.axis == "t" else None,
            activation_density=x.density if x else None,
        )

    def loaded(self, layer: Sparse) -> None:
        """A layer's weights were loaded: its masks follow, at the step loaded with them."""
        if self._layers and layer is self._layers[0][1] and "mask_step" in layer._buffers:
            self._now = int(layer.get_buffer("mask_step"))
        state = layer.sparsity
        self._refresh_layer(state.name, layer, self.phase, moved=False)

    def _save_step(self) -> None:
        """The step lies in a buffer of the first layer where the recipe depends on it."""
        if self._layers and not self.recipe.constant:
            set_buffer(self._layers[0][1], "mask_step", torch.tensor(self._now), persistent=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy hears of optimizers too."""
        self.__dict__.update(state)
        _ACTIVE.add(self)

    def _leads(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether ``optimizer`` moves the first sparse layer: one step of it is one step."""
        return bool(self._layers) and id(self._layers[0][1].weight) in _parameters(optimizer)


def _parameters(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def _mixed(seed: int, step: int, name: str) -> int:
    """A seed of its own for each layer and step, the same on every machine."""
    value = seed * 1_000_003 + step
    for letter in name.encode():
        value = (value * 31 + letter) % (1 << 61)
    return value


def _before(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for sparsifier in list(_ACTIVE):
        sparsifier.before_update(optimizer)


def _after(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    for sparsifier in list(_ACTIVE):
        if sparsifier._leads(optimizer):
            sparsifier.after_update()


register_optimizer_step_pre_hook(_before)
register_optimizer_step_post_hook(_after)
