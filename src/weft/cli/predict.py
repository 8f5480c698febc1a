"""``weft predict``: a table of products in, the same table with their cost out."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from weft.cli.options import Constants, Hardware, subcommand
from weft.cli.output import write_text
from weft.mapper.pricing.settings import GpuSettings, IdealSettings, machine_settings
from weft.mapper.topology.table import MAX_ELEMENTS

__all__ = ["ProductRow", "app", "predict_table", "read_products"]

app = subcommand()

MAX_SIZE = 1 << 40
"""Of m, n, k and batch, as on GPUs."""


@app.command()
def predict(
    products: Annotated[Path, typer.Argument(help="CSV with m,n,k[,batch,dtype,sparsity].")],
    hardware: Hardware = "sat-vcu1525",
    constants: Constants = None,
    out: Annotated[Path | None, typer.Option(help="CSV to write; default stdout.")] = None,
) -> None:
    """Fill a table of matrix products with their time on a machine."""
    predict_table(products, hardware, out, constants or "")


@dataclass(frozen=True)
class ProductRow:
    """One product of the table; ``sparsity`` is "dense" or N:M."""

    m: int
    n: int
    k: int
    batch: int
    sparsity: str


def read_products(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of the CSV file.

    Raises:
        ValueError: no such file, a column missing or unknown text; the line is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    reader = csv.DictReader(io.StringIO(text))
    columns = list(reader.fieldnames or [])
    missing = [name for name in ("m", "n", "k") if name not in columns]
    if missing:
        raise ValueError(
            f"{path} lacks column {missing[0]!r}; needed: m,n,k[,batch,dtype,sparsity]"
        )
    return columns, list(reader)


def parse_row(path: Path, line: int, row: dict[str, str]) -> ProductRow:
    """One row as numbers; ``line`` is its line in the file."""
    from weft.sim.gpu.prediction.predict import DTYPE_NAMES, ELEMENT_BYTES

    sizes: dict[str, int] = {}
    for name in ("m", "n", "k", "batch"):
        text = (row.get(name) or ("1" if name == "batch" else "")).strip()
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:20]) <= MAX_SIZE):
            raise ValueError(
                f"{path} line {line}: {name} is {text!r}; it must be a whole number, 1 to 2^40"
            )
        sizes[name] = int(text)
    dtype = (row.get("dtype") or "fp16").strip()
    if DTYPE_NAMES.get(dtype, dtype) not in ELEMENT_BYTES:
        allowed = ", ".join(ELEMENT_BYTES)
        raise ValueError(f"{path} line {line}: dtype is {dtype!r}; it must be one of {allowed}")
    sparsity = (row.get("sparsity") or "dense").strip()
    largest = sizes["batch"] * max(
        sizes["m"] * sizes["k"], sizes["k"] * sizes["n"], sizes["m"] * sizes["n"]
    )
    if largest > MAX_ELEMENTS:
        raise ValueError(
            f"{path} line {line}: m, n, k, batch make an operand of {largest} elements; at most "
            "2^53 are allowed"
        )
    return ProductRow(**sizes, sparsity=sparsity)


def predict_table(path: Path, hardware: str, out: Path | None, constants: str = "") -> None:
    """Predict every product of a CSV file on ``hardware``.

    Cycles on SAT and on ``systolic-ideal``, microseconds on a GPU, there with the ``constants`` of
    a file if one is named.
    """
    machine = machine_settings(hardware, {"constants": constants} if constants else {})
    if isinstance(machine, GpuSettings):
        from weft.sim.gpu.prediction.constants import read_constants
        from weft.sim.gpu.prediction.predict import predict_file

        own = read_constants(Path(constants)) if constants else None
        predict_file(path, hardware, out, constants=own)
        return
    columns, rows = read_products(path)
    products = [parse_row(path, line, row) for line, row in enumerate(rows, start=2)]
    if isinstance(machine, IdealSettings):
        cycles = [
            _ideal(path, line, row, product)
            for line, (row, product) in enumerate(zip(rows, products, strict=True), start=2)
        ]
    else:
        cycles = sat_cycles(products, hardware)
    table = [{**row, "cycles": str(count)} for row, count in zip(rows, cycles, strict=True)]
    _write(columns, table, out)


def sat_cycles(products: Sequence[ProductRow], hardware: str) -> list[int]:
    """Cycles of each product alone on an idle machine, best tiling, W compressed where sparse."""
    from weft.mapper.scheduling.schedule import Scheduler
    from weft.mapper.scheduling.tiling import Fused
    from weft.sim.machine import load_machine
    from weft.sim.pattern import Pattern
    from weft.sim.workload import Operand, Product, Role, Stage

    scheduler = Scheduler(load_machine(hardware))
    found: list[int] = []
    for row in products:
        product = Product(
            "product",
            Stage.FF,
            "mm",
            row.m,
            row.k,
            row.n,
            row.batch,
            Operand(Role.ACTIVATION, row.batch * row.m * row.k),
            Operand(Role.WEIGHT, row.batch * row.k * row.n),
            Operand(Role.ACTIVATION, row.batch * row.m * row.n),
        ).with_sparsity("right", Pattern.parse(row.sparsity))
        found.append(scheduler.pick(product, Fused()).cycles)
    return found


def _ideal(path: Path, line: int, row: dict[str, str], product: ProductRow) -> int:
    """Cycles on an array without memory limits; columns rows, cols, dataflow may set it."""
    from weft.sim.ideal import Compression, ideal_array, ideal_cycles

    try:
        compression = Compression.parse(product.sparsity)
        array = ideal_array(row)
    except ValueError as error:
        raise ValueError(f"{path} line {line}: {error}") from error
    return ideal_cycles(array, product.m, product.k, product.n, compression, product.batch)


def _write(columns: list[str], table: list[dict[str, str]], out: Path | None) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, "cycles"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        write_text(text.getvalue(), str(out))
