"""What a sparse training recipe is: a declaration that hardware prices and torch obeys.

How to consume it::

    recipe = find_recipe("srste:decay=1e-4").bind(pattern=(2, 8), steps=1000)
    phase = recipe.at(step)
    phase.rules      # operands that are N:M along the reduction of their stage: hardware skips
    phase.masks      # selections to make, each every so many steps
    phase.extras     # what the step must also do: gathers, permutation searches
    phase.operands   # everything that is pruned, also where no hardware can use it

A rule's ``pattern`` is None for the run's own (or the layer's), else this step's (n, m).
Unstructured rules carry a ``density`` and are in ``phase.unstructured``, never in ``rules``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal

__all__ = [
    "REDUCTION",
    "Axis",
    "Bound",
    "Extra",
    "Mask",
    "Operand",
    "Parameter",
    "Phase",
    "Recipe",
    "RecipeError",
    "Rule",
    "Selection",
    "Source",
    "Stage",
]

Stage = Literal["ff", "bp", "wu"]
Operand = Literal["weight", "activation", "output_gradient", "weight_gradient"]
Source = Literal["weight", "output_gradient", "activation"]
Axis = Literal["k", "o", "t", "both", "any"]
"""Where groups lie: "k" along the input channels (the reduction of FF), "o" along the output
channels (of BP), "t" along the tokens or pixels of the batch (of WU); "both" one selection that
is valid along "k" and along "o"; "any" unstructured."""
Selection = Literal[
    "magnitude",
    "transposable",
    "transposable-greedy",
    "inside-k",
    "combination",
    "soft-threshold",
    "mvue",
    "magnitude-drop-gradient-grow",
    "magnitude-drop-random-grow",
    "random",
]
"""How the elements that stay are chosen."""

REDUCTION: Mapping[str, Axis] = MappingProxyType({"ff": "k", "bp": "o", "wu": "t"})
"""The reduction of each stage."""


class RecipeError(ValueError):
    """A recipe that does not exist, or a parameter out of range."""


@dataclass(frozen=True)
class Rule:
    """In ``stage`` the ``operand`` has groups along ``axis`` (default: the stage's reduction).

    ``pattern`` (n, m) is this step's own; None is the run's. ``density`` is the share of
    elements kept where the axis is "any". ``permuted``: groups lie on permuted channels.
    """

    stage: Stage
    operand: Operand = "weight"
    axis: Axis = "any"
    pattern: tuple[int, int] | None = None
    density: float | None = None
    permuted: bool = False

    @property
    def skippable(self) -> bool:
        """Whether N:M groups lie along the reduction of the stage, so that hardware can skip."""
        fits = self.axis in (REDUCTION[self.stage], "both")
        both_means_weight = self.axis != "both" or self.operand == "weight"
        return fits and both_means_weight and self.operand != "weight_gradient"


@dataclass(frozen=True)
class Mask:
    """A selection of what stays that must be made.

    ``every`` is the steps between two refreshes, counted from step 0; 0 is never again after the
    first. Compressed weights must be packed again after every update even when the selection
    stays.
    """

    source: Source
    axis: Axis
    every: int = 1
    selection: Selection = "magnitude"
    pattern: tuple[int, int] | None = None
    density: float | None = None
    distribution: Literal["uniform", "erk"] = "uniform"

    def due(self, step: int) -> bool:
        """Whether the selection is made anew at ``step``."""
        return step % self.every == 0 if self.every else step == 0


@dataclass(frozen=True)
class Extra:
    """Work beside products and masks.

    ``gather`` moves every element of ``operand`` through an index at each use;
    ``permutation-search`` makes the mask of ``operand`` ``count`` times and keeps the best.
    """

    kind: Literal["gather", "permutation-search"]
    operand: Operand
    stage: Stage
    every: int = 1
    count: int = 1


@dataclass(frozen=True)
class Phase:
    """What holds at one step.

    ``operands`` is what is pruned; ``fade`` multiplies the weights that a mask drops (0: they
    are zero; above 0 the operand is dense, and no rule names it).
    """

    operands: tuple[Rule, ...] = ()
    masks: tuple[Mask, ...] = ()
    extras: tuple[Extra, ...] = ()
    fade: float = 0.0

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The operands that hardware can skip: N:M along the reduction of their stage."""
        return self._rules

    @property
    def unstructured(self) -> tuple[Rule, ...]:
        """The operands (and the results of WU) that are sparse without a pattern."""
        return self._unstructured

    @cached_property
    def _rules(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.operands if rule.skippable)

    @cached_property
    def _unstructured(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.operands if rule.density is not None)


@dataclass(frozen=True)
class Parameter:
    """A setting of a recipe, with its default and the allowed range, ends included."""

    name: str
    default: float
    low: float
    high: float
    summary: str

    def check(self, recipe: str, value: float) -> float:
        if not self.low <= value <= self.high:
            raise RecipeError(
                f"recipe {recipe}: {self.name} is {value:g}; allowed {self.low:g} to {self.high:g}"
            )
        return value


@dataclass(frozen=True)
class Bound:
    """A recipe for one run: pattern, length and parameters are known.

    ``pattern`` None means that each layer has its own, or that none is needed.
    """

    recipe: Recipe
    pattern: tuple[int, int] | None
    steps: int
    values: tuple[tuple[str, float], ...]

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def sparse_inference(self) -> bool:
        """Whether the model that this run ends with is sparse when it is used."""
        last = self.at(self.steps - 1)
        return any((rule.stage, rule.operand) == ("ff", "weight") for rule in last.operands)

    @cached_property
    def parameters(self) -> Mapping[str, float]:
        """Every parameter's value."""
        return MappingProxyType(dict(self.values))

    @property
    def density(self) -> float:
        """N / M of the run's pattern; 1/4 where none is given."""
        n, m = self.pattern or (1, 4)
        return n / m

    @property
    def constant(self) -> bool:
        """Whether every step is the same, so that nothing need be remembered."""
        phase = self.at(0)
        fixed = all(mask.every == 1 and mask.selection == "magnitude" for mask in phase.masks)
        return self.recipe.constant and fixed

    def __deepcopy__(self, memo: object) -> Bound:
        """It never changes, so a copied model may share it."""
        return self

    def at(self, step: int) -> Phase:
        """What holds at ``step`` (0 is the first).

        Raises:
            RecipeError: a negative step.
        """
        if step < 0:
            raise RecipeError(f"step is {step}; it must be at least 0")
        return self.recipe.schedule(self, step)


@dataclass(frozen=True)
class Recipe:
    """A sparsity recipe.

    Attributes:
        name: as on the command line.
        summary: one line.
        source: the paper.
        schedule: from the bound recipe and a step to what holds then.
        sparse_inference: whether the trained model is sparse when it is used.
        parameters: what can be set.
        constant: whether the schedule ignores the step.
        hard: whether dropped weights are zero in the model itself, not only in the products.
        default_steps: the length of a run where the user gives none.
    """

    name: str
    summary: str
    source: str
    schedule: Callable[[Bound, int], Phase]
    sparse_inference: bool
    parameters: tuple[Parameter, ...] = ()
    constant: bool = True
    hard: bool = False
    default_steps: int = 1000
    chosen: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)

    def with_parameters(self, values: Mapping[str, float]) -> Recipe:
        """The same recipe with other defaults.

        Raises:
            RecipeError: a parameter that does not exist or is out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in values.items():
            if name not in known:
                allowed = ", ".join(known) or "none"
                raise RecipeError(f"recipe {self.name} has no parameter {name!r}; known: {allowed}")
            known[name].check(self.name, value)
        return replace(self, chosen=MappingProxyType({**self.chosen, **values}))

    def bind(
        self,
        pattern: tuple[int, int] | None = None,
        steps: int | None = None,
        **values: float,
    ) -> Bound:
        """The recipe for a run of ``steps`` steps at ``pattern`` (n, m).

        Raises:
            RecipeError: a parameter that does not exist or is out of range, or no steps.
        """
        length = self.default_steps if steps is None else steps
        if length < 1:
            raise RecipeError(f"steps is {length}; it must be at least 1")
        chosen = self.with_parameters(values).chosen
        every = tuple((p.name, chosen.get(p.name, p.default)) for p in self.parameters)
        return Bound(self, pattern, length, every)

    def at(self, step: int) -> Phase:
        """What holds at ``step`` of a run of the default length."""
        return self.bind().at(step)
