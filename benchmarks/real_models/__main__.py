"""``python -m benchmarks.real_models``: the table, and exit status 1 if a model does not hold."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase

from benchmarks.real_models.case import Case
from benchmarks.real_models.check import Row, check

__all__ = ["all_cases", "main"]


def all_cases() -> tuple[Case, ...]:
    """Every model of the table."""
    from benchmarks.real_models.language import LANGUAGE
    from benchmarks.real_models.of_diffusers import DIFFUSERS
    from benchmarks.real_models.of_timm import TIMM
    from benchmarks.real_models.of_torchvision import TORCHVISION
    from benchmarks.real_models.perception import PERCEPTION
    from benchmarks.real_models.setups import SETUPS

    return (*LANGUAGE, *PERCEPTION, *TIMM, *TORCHVISION, *DIFFUSERS, *SETUPS)


def _prepare() -> None:
    import torch

    from benchmarks.real_models.shim import declare_torchvision_ops

    torch.set_num_threads(1)
    declare_torchvision_ops()


def _check(place: int) -> Row:
    return check(all_cases()[place])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row for each model; 1 if one does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_models", description=__doc__)
    parser.add_argument("names", nargs="*", help="models or shell patterns; all by default")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    chosen = [
        place
        for place, case in enumerate(all_cases())
        if not given.names
        or any(fnmatchcase(f"{case.library}/{case.name}", f"*{name}") for name in given.names)
    ]
    held = 0
    print(_line("model", "works", "macs", "equal", "gpu", "sat", "sparse", "CPU s"))
    with ProcessPoolExecutor(given.jobs, initializer=_prepare) as pool:
        for row in pool.map(_check, chosen):
            held += row.holds
            _show(row)
    print(f"{held} of {len(chosen)} models hold: simulated to the end, dense and BDWP 2:8, on both")
    return 0 if held == len(chosen) else 1


def _show(row: Row) -> None:
    equal = {True: "yes", False: f"no: {row.macs_counted}", None: "-"}[row.macs_equal]
    gpu, sat = (len(row.uncosted.get(m, ())) for m in ("h100-sxm", "sat-vcu1525"))
    works = "no" if row.error else "yes"
    name = f"{row.library}/{row.name}"
    print(
        _line(name, works, row.macs, equal, gpu, sat, f"{row.sparse:.0%}", f"{row.seconds:.1f}"),
        flush=True,
    )
    for machine, ops in row.uncosted.items():
        if ops:
            print(f"    not costed on {machine}: {', '.join(ops)}", flush=True)
    if row.error:
        print(f"    {row.error}", flush=True)


def _line(*cells: object) -> str:
    widths = (44, 5, 15, 5, 3, 3, 6, 6)
    return "  ".join(str(cell).ljust(width) for cell, width in zip(cells, widths, strict=True))


if __name__ == "__main__":
    sys.exit(main())
