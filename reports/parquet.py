"""Layers of one or several runs as an Arrow table."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from weft.sim.results import LayerCost, RunResult

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["layers_file", "layers_table"]

_RUN_FIELDS = ("model", "recipe", "pattern", "hardware", "batch", "steps")
_LARGEST_INT64 = 2**63 - 1


def layers_table(runs: Sequence[RunResult]) -> pa.Table:
    """All fields of all layers; several runs are told apart by columns before them (``run_*``)."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    if len(runs) > 1:
        for name in _RUN_FIELDS:
            kind = int if name in ("batch", "steps") else str
            values = [getattr(run, name) for run in runs for _ in run.layers]
            columns[f"run_{name}"] = pa.array(values, _arrow_type(kind, values))
    hints = get_type_hints(LayerCost)
    for field in dataclasses.fields(LayerCost):
        values = [getattr(layer, field.name) for run in runs for layer in run.layers]
        columns[field.name] = pa.array(values, _arrow_type(hints[field.name], values))
    return pa.table(columns)


def layers_file(runs: Sequence[RunResult]) -> bytes:
    """The table as the content of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(layers_table(runs), buffer)
    return buffer.getvalue().to_pybytes()


def _arrow_type(kind: Any, values: Sequence[Any]) -> pa.DataType:
    """The type that a field is stored as; counts beyond 64 bits become decimals, still exact."""
    import pyarrow as pa

    if get_origin(kind) is types.UnionType:
        kind = next(option for option in get_args(kind) if option is not type(None))
    if kind is int and any(abs(value) > _LARGEST_INT64 for value in values if value is not None):
        return pa.decimal128(38, 0)
    return {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}[kind]
