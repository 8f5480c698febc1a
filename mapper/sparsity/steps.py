"""The distinct steps of a run: a recipe may change from step to step, equal steps count once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from weft.mapper.sparsity.sparsify import Applied, Recipe, SkipRules, apply_recipe
from weft.sim.pattern import Pattern
from weft.sim.workload import Product, Workload

__all__ = ["distinct_steps"]


def distinct_steps(
    workload: Workload,
    recipe: Recipe,
    patterns: Pattern | Callable[[Product], Pattern] | None,
    steps: int,
    *,
    skip: SkipRules,
    pregenerate: bool,
) -> list[tuple[Applied, int]]:
    """The workloads of a run of ``steps`` steps, equal ones once with their count.

    Raises:
        ValueError: a layer to skip that the workload does not have.
    """
    _check_skip(workload, skip)
    found: dict[Workload, tuple[Applied, int]] = {}
    for step, count in _step_kinds(recipe, steps):
        applied = apply_recipe(
            workload, recipe, patterns, step=step, skip=skip, pregenerate=pregenerate
        )
        known = found.get(applied.workload)
        found[applied.workload] = (applied, count + (known[1] if known else 0))
    return list(found.values())


def _step_kinds(recipe: Recipe, steps: int) -> Iterable[tuple[int, int]]:
    """(a step of each kind, how many there are): steps with the same rules and extra work."""
    kinds: dict[object, tuple[int, int]] = {}
    for step in range(steps):
        phase = recipe.at(step)
        extras = tuple(extra.kind for extra in phase.extras if step % extra.every == 0)
        key = (tuple(phase.rules), bool(phase.unstructured), extras, phase.fade > 0)
        first, count = kinds.get(key, (step, 0))
        kinds[key] = (first, count + 1)
    return kinds.values()


def _check_skip(workload: Workload, skip: SkipRules) -> None:
    names = {product.name for product in workload.products}
    for name in sorted(skip.names - names):
        raise ValueError(f"skip: no layer is called {name!r}; known: {_some(names)}")


def _some(names: Iterable[str], limit: int = 8) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more
