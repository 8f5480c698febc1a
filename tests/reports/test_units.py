"""Numbers as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.reports.units import data, joules, seconds

_FACTORS = {
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "h": 3600.0,
    "days": 86400.0,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (seconds(0.00123456), "1.23 ms"),
        (seconds(7199), "7,199 s"),
        (seconds(7200), "2 h"),
        (seconds(10641826), "123 days"),
        (seconds(1e9), "11,574 days"),
        (joules(4.27e7), "42.7 MJ"),
        (joules(None), "-"),
        (data(999), "999 B"),
        (data(68_800_000_000_000_000), "68.8 PB"),
        (data(5 * 10**18), "5,000 PB"),
    ],
)
def test_the_unit_fits(text: str, expected: str) -> None:
    assert text == expected


@given(st.floats(1e-9, 1e12))
def test_a_time_is_told_to_three_digits(value: float) -> None:
    match = re.fullmatch(r"([\d.,]+) (\w+)", seconds(value))
    assert match is not None, seconds(value)
    told = float(match[1].replace(",", "")) * _FACTORS[match[2]]
    assert told == pytest.approx(value, rel=5.01e-3)
