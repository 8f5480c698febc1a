"""The ``pattern`` setting: one N:M for all layers, or a JSON object of layer to N:M."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, cast

from weft.sim.pattern import DENSE, Pattern

if TYPE_CHECKING:
    from weft.sim.workload import Product, Workload

__all__ = ["choose_by_layer", "parse_patterns", "pattern_label", "pattern_setting"]

_EXAMPLE = '{"layers.0.*": "2:8", "head": "4:8"}'


def pattern_setting(argument: str) -> str:
    """The setting that a command line's ``argument`` stands for: N:M, or a .json file's text.

    Raises:
        ValueError: a file that is missing, or holds no object of layer to N:M.
    """
    if not argument.endswith(".json"):
        return argument
    try:
        text = Path(argument).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"pattern file {argument} cannot be read: {error}") from None
    return json.dumps({rule: str(p) for rule, p in _parse_layers(text, argument).items()})


def parse_patterns(setting: str) -> Pattern | Mapping[str, Pattern]:
    """One pattern, or one per layer by name or shell pattern, the last match counting.

    Raises:
        ValueError: neither N:M nor an object of layer to N:M.
    """
    if not setting:
        return DENSE
    return _parse_layers(setting, "pattern") if setting.startswith("{") else Pattern.parse(setting)


def _parse_layers(text: str, source: str) -> dict[str, Pattern]:
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{source} is no JSON: {error}; write {_EXAMPLE}") from None
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{source} is no object of layer to N:M; write {_EXAMPLE}")
    rules = cast("dict[str, object]", found)
    wrong = next((name for name, value in rules.items() if not isinstance(value, str)), None)
    if wrong is not None:
        raise ValueError(f'{source}: layer {wrong!r} has no pattern; write "N:M" in quotes')
    return {name: Pattern.parse(str(value)) for name, value in rules.items()}


def pattern_label(setting: str) -> str:
    """The setting in a word, for tables and file names."""
    found = parse_patterns(setting)
    if isinstance(found, Pattern):
        return str(found)
    return ",".join(dict.fromkeys(str(pattern) for pattern in found.values()))


def choose_by_layer(
    patterns: Mapping[str, Pattern], workload: Workload
) -> Callable[[Product], Pattern]:
    """Each product's pattern by its layer's name; layers that no rule matches stay dense.

    Raises:
        ValueError: a rule that matches no layer of ``workload``; the nearest are named.
    """
    names = {product.name for product in workload.products}
    for rule in patterns:
        if not any(fnmatchcase(name, rule) for name in names):
            near = difflib.get_close_matches(rule, names, n=3, cutoff=0.0)
            raise ValueError(f"pattern rule {rule!r} matches no layer; nearest: {', '.join(near)}")
    by_name = {name: _last_match(name, patterns.items()) for name in names}
    return lambda product: by_name[product.name]


def _last_match(name: str, rules: Iterable[tuple[str, Pattern]]) -> Pattern:
    matches = [pattern for rule, pattern in rules if fnmatchcase(name, rule)]
    return matches[-1] if matches else DENSE
