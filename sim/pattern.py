"""N:M patterns: at most N of every M consecutive elements along the reduction are non-zero."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DENSE", "MAX_M", "Pattern"]

MAX_M = 16
"""Largest group that the machine's index width and SORE support (reference: SAT, our choice)."""


@dataclass(frozen=True, order=True)
class Pattern:
    """N of M elements are kept. ``n == m`` is dense.

    Raises:
        ValueError: unless 1 <= n <= m <= 16.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 1 <= self.n <= self.m <= MAX_M:
            raise ValueError(
                f"pattern {self.n}:{self.m} is not possible; N:M needs 1 <= N <= M <= {MAX_M}"
            )

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read ``"2:8"`` or ``"dense"``."""
        if text == "dense":
            return DENSE
        match = re.fullmatch(r"([0-9]{1,9}):([0-9]{1,9})", text)
        if match is None:
            raise ValueError(f"pattern {text!r} is not N:M (for example 2:8) nor 'dense'")
        return cls(int(match[1]), int(match[2]))

    @property
    def density(self) -> float:
        return self.n / self.m

    @property
    def is_dense(self) -> bool:
        return self.n == self.m

    @property
    def index_bits(self) -> int:
        """Bits of one kept element's position in its group; 0 when dense."""
        return 0 if self.is_dense else (self.m - 1).bit_length()

    def groups(self, k: int) -> int:
        """Groups that a reduction of k elements fills, the last one padded."""
        return -(-k // self.m)

    def kept(self, k: int) -> int:
        """Elements kept of a reduction of k elements, padding included."""
        return self.groups(k) * self.n

    def __str__(self) -> str:
        return "dense" if self.is_dense else f"{self.n}:{self.m}"


DENSE = Pattern(1, 1)
