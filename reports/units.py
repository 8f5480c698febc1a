"""Numbers as people read them: with a unit that fits, and safe to show."""

from __future__ import annotations

__all__ = ["count", "data", "joules", "ratio", "seconds", "share", "shown"]

_NOTHING = "-"


def _scaled(value: float, units: tuple[tuple[float, str], ...], digits: int) -> str:
    """``value`` in the largest unit that it reaches; the last unit takes what is smaller."""
    if value == 0:
        return "0"
    scale, unit = next(((s, u) for s, u in units if abs(value) >= s), units[-1])
    scaled = value / scale
    # Beyond 999 the largest unit is left: digits, not powers of ten.
    number = f"{scaled:,.0f}" if abs(scaled) >= 999.5 else f"{scaled:.{digits}g}"
    return f"{number} {unit}"


_DAY_S, _HOUR_S = 86400.0, 3600.0
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_JOULES = (
    (1e9, "GJ"),
    (1e6, "MJ"),
    (1e3, "kJ"),
    (1.0, "J"),
    (1e-3, "mJ"),
    (1e-6, "uJ"),
    (1e-9, "nJ"),
)
_BYTES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def seconds(value: float) -> str:
    """A time, to three digits; from two hours in hours, from two days in days."""
    if value >= 2 * _DAY_S:
        return _scaled(value / _DAY_S, ((1.0, "days"),), 3)
    if value >= 2 * _HOUR_S:
        return _scaled(value / _HOUR_S, ((1.0, "h"),), 3)
    return _scaled(value, _SECONDS, 3)


def joules(value: float | None) -> str:
    """An energy, to three digits; None is unknown."""
    return _NOTHING if value is None else _scaled(value, _JOULES, 3)


def data(value: int) -> str:
    """Bytes, to three digits; kB is a thousand."""
    return f"{value} B" if abs(value) < 1000 else _scaled(value, _BYTES, 3)


def count(value: int | None) -> str:
    """A whole number with its thousands set apart; None is unknown."""
    return _NOTHING if value is None else f"{value:,}"


def ratio(value: float | None, digits: int = 2) -> str:
    """How many times as much; None is unknown."""
    return _NOTHING if value is None else f"{value:.{digits}f}x"


def share(value: float | None) -> str:
    """A part of the whole in percent; None is unknown."""
    return _NOTHING if value is None else f"{value:.1%}"


def shown(text: str) -> str:
    """``text`` in one line, control characters (a terminal would obey them) replaced."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
