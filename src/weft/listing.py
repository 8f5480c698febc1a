"""What there is: machines, models, recipes, each on a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weft.rtl.inspection.area import Resources
    from weft.sim.machine import Machine

__all__ = ["show_area", "show_hardware", "show_models", "show_recipes", "show_structure"]


def show_hardware(name: str | None) -> None:
    """List machines, or print one's file, whose comments say where every field comes from."""
    from weft.sim.gpu.prediction.machine import gpu_names, is_gpu
    from weft.sim.ideal import IDEAL, SUMMARY, ideal_text
    from weft.sim.machine import load_machine, machine_names, machine_text

    if name == IDEAL:
        print(ideal_text(), end="")
        return
    if name is not None:
        print(_gpu_text(name) if is_gpu(name) else machine_text(name), end="")
        return
    rows = [(known, load_machine(known).summary) for known in machine_names()]
    rows.append((IDEAL, SUMMARY))
    rows += [(known, "GPU, kernel cost model") for known in gpu_names()]
    _print_table(("machine", "summary"), rows)


def show_area(name: str | None) -> None:
    """What a SAT machine takes of an FPGA, unit by unit, beside what the VCU1525's chip holds.

    Raises:
        ValueError: no machine named, or a GPU.
        AreaError: yosys is not installed.
    """
    from weft.rtl.inspection.area import METHOD, area

    found = area(_in_verilog(name, "--area"))
    rows = [
        (unit.name, f"{unit.count:,}", *_sites(unit.each), *_sites(unit.total))
        for unit in found.units
    ]
    rows.append(("all", "", *[""] * 5, *_sites(found.total)))
    rows.append(("XCVU9P holds", "", *[""] * 5, *_sites(found.chip)))
    used = (
        f"{part / whole:.1%}"
        for part, whole in zip(astuple(found.total), astuple(found.chip), strict=True)
    )
    rows.append(("used", "", *[""] * 5, *used))
    names = ("LUT", "FF", "DSP", "BRAM36", "URAM")
    _print_table(("unit", "count", *(f"{site} each" for site in names), *names), rows)
    print(f"\n{METHOD}")


def show_structure(name: str | None) -> None:
    """The modules of a SAT machine's Verilog as a tree, with what each and all below it has.

    Raises:
        ValueError: no machine named, a GPU, or one that the Verilog cannot be.
    """
    from weft.rtl.cosimulation.parameters import parameters
    from weft.rtl.inspection.structure import draw, elaborate

    values = parameters(_in_verilog(name, "--structure"))
    of_memory = ("READ_LATENCY", "WRITE_LATENCY")
    print(draw(elaborate("sat_top", {k: v for k, v in values.items() if k not in of_memory})))


def _in_verilog(name: str | None, option: str) -> Machine:
    from weft.sim.gpu.prediction.machine import is_gpu
    from weft.sim.machine import load_machine

    if name is None:
        raise ValueError(f"{option} needs a machine: weft hardware sat-32x32 {option}")
    if is_gpu(name):
        raise ValueError(f"{option} is of SAT machines, which weft has in Verilog; {name} is a GPU")
    return load_machine(name)


def _sites(resources: Resources) -> tuple[str, ...]:
    return tuple(f"{value:,.10g}" for value in astuple(resources))


def _gpu_text(name: str) -> str:
    import importlib.resources

    folder = importlib.resources.files("weft.sim.gpu.prediction") / "machines"
    return (folder / f"{name}.toml").read_text(encoding="utf-8")


def show_models() -> None:
    """List the zoo with published parameter counts and default inputs."""
    from weft.models.zoo import ZOO

    rows = [
        (
            model.name,
            f"{model.parameters:,}",
            "x".join(str(size) for size in (model.default_batch, *model.default_input)),
            model.summary,
        )
        for model in ZOO.values()
    ]
    _print_table(("model", "parameters", "default input", "summary"), rows)


def show_recipes() -> None:
    """List the recipes and which operand each makes sparse."""
    from weft.models.recipes import RECIPES

    rows = [
        (
            recipe.name,
            ", ".join(f"{rule.stage}: {rule.operand}" for rule in recipe.at(0).rules) or "-",
            recipe.summary,
        )
        for recipe in RECIPES.values()
    ]
    _print_table(("recipe", "sparse at step 0", "summary"), rows)


def _print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
