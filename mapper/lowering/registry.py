"""Which function lowers which op."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from weft.mapper.tracing.graph import Op

if TYPE_CHECKING:
    from weft.mapper.lowering.context import Lowering

__all__ = ["REGISTRY", "Rule", "lowers"]

Rule = Callable[["Lowering", Op], None]

REGISTRY: dict[str, Rule] = {}
"""Rules by the name of the op, without namespace and overload."""


def lowers(*names: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule for the ops ``names``."""

    def register(rule: Rule) -> Rule:
        for name in names:
            if name in REGISTRY:
                raise ValueError(f"op {name} already has a rule")
            REGISTRY[name] = rule
        return rule

    return register
