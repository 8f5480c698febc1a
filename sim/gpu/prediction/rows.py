"""Tables on disk as rows of text, and their columns as numbers."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np

from weft.sim.gpu.prediction.kernel import Array

__all__ = ["column", "read_rows"]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file, gzipped or not.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", newline="") as stream:
                return list(csv.DictReader(stream))
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"table {path}: {error}") from error


def column(rows: list[dict[str, str]], name: str) -> Array:
    """A column as numbers, NaN where a cell is empty."""
    return np.array([float(row[name]) if row.get(name) else np.nan for row in rows])
