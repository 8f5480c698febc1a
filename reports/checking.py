"""Whether values that came from a file are of the kinds that their dataclass says."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Mapping
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

__all__ = ["find_fault"]


def find_fault(value: object, kind: Any, place: str = "") -> str | None:
    """The first value of another kind than ``kind`` says, in words; None if there is none.

    Numbers must be finite. ``place`` is where ``value`` was found.
    """
    if kind is Any:
        return None
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if any(find_fault(value, option, place) is None for option in get_args(kind)):
            return None
        return _fault(value, " or ".join(_name(option) for option in get_args(kind)), place)
    if origin is tuple:
        return _first_of_items(value, get_args(kind)[0], place)
    if origin is not None and issubclass(origin, Mapping):
        return _first_of_mapping(value, get_args(kind)[1], place)
    if dataclasses.is_dataclass(kind):
        return _first_of_fields(value, cast("type", kind), place)
    return None if _is_plain(value, kind) else _fault(value, _name(kind), place)


def _is_plain(value: object, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, float | int) and type(value) is not bool and math.isfinite(value)
    if kind is str:
        return isinstance(value, str) and _is_unicode(value)
    return type(value) is kind


def _is_unicode(text: str) -> bool:
    """No half of a surrogate pair, which no file could hold."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _first_of_items(value: object, kind: Any, place: str) -> str | None:
    if not isinstance(value, tuple | list):
        return _fault(value, "a list", place)
    items = cast("tuple[object, ...]", value)
    faults = (find_fault(item, kind, f"{place}[{index}]") for index, item in enumerate(items))
    return next((fault for fault in faults if fault), None)


def _first_of_mapping(value: object, kind: Any, place: str) -> str | None:
    if not isinstance(value, Mapping):
        return _fault(value, "an object", place)
    items = cast("Mapping[str, object]", value).items()
    faults = (find_fault(item, kind, f"{place}.{name}") for name, item in items)
    return next((fault for fault in faults if fault), None)


def _first_of_fields(value: object, kind: type, place: str) -> str | None:
    prefix = f"{place}." if place else ""
    faults = (
        find_fault(getattr(value, name), hint, prefix + name) for name, hint in _hints(kind).items()
    )
    return next((fault for fault in faults if fault), None)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _name(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(kind, "null")


def _fault(value: object, wanted: str, place: str) -> str:
    found = repr(value)
    return f"{place} is {found[:40]}{'...' if len(found) > 40 else ''}; it must be {wanted}"
