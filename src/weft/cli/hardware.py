"""``weft hardware``."""

from __future__ import annotations

import importlib.resources
from dataclasses import astuple
from typing import TYPE_CHECKING, Annotated

import typer

from weft.cli.options import subcommand
from weft.cli.table import print_table
from weft.sim.gpu.prediction.machine import gpu_names
from weft.sim.ideal import IDEAL, SUMMARY, ideal_text
from weft.sim.machine import Machine, load_machine, machine_names, machine_text

if TYPE_CHECKING:
    from weft.rtl.inspection.logic import UnitStage
    from weft.rtl.inspection.synthesis import Resources

__all__ = ["app", "show_area", "show_hardware", "show_structure"]

app = subcommand()


@app.command()
def hardware(
    name: Annotated[str | None, typer.Argument(help="Show this machine's file.")] = None,
    area: Annotated[
        bool,
        typer.Option("--area", help="What its Verilog takes of an FPGA (yosys; minutes once)."),
    ] = False,
    structure: Annotated[
        bool, typer.Option("--structure", help="Its Verilog's modules and what each is made of.")
    ] = False,
) -> None:
    """List the machines, or show one with its sources."""
    if area:
        show_area(name)
    elif structure:
        show_structure(name)
    else:
        show_hardware(name)


def show_hardware(name: str | None) -> None:
    """List machines, or print one's file, whose comments say where every field comes from."""
    if name == IDEAL:
        print(ideal_text(), end="")
        return
    if name is not None:
        print(_gpu_text(name) if name in gpu_names() else machine_text(name), end="")
        return
    rows = [(known, load_machine(known).summary) for known in machine_names()]
    rows.append((IDEAL, SUMMARY))
    rows += [(known, "GPU, kernel cost model") for known in gpu_names()]
    print_table(("machine", "summary"), rows)


def show_area(name: str | None) -> None:
    """What a SAT machine takes of an FPGA, unit by unit, beside what the VCU1525's chip holds.

    Then how many nodes of logic lie before each set of registers, the deepest marked.

    Raises:
        ValueError: no machine named, or a GPU.
        AreaError: yosys is not installed.
    """
    from weft.rtl.inspection.area import METHOD, area
    from weft.rtl.inspection.logic import NODES, logic_depths

    machine = _in_verilog(name, "--area")
    found = area(machine)
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
    print_table(("unit", "count", *(f"{site} each" for site in names), *names), rows)
    print(f"\n{METHOD}\n")
    _show_depths(logic_depths(machine))
    print(f"\n{NODES}")


def _show_depths(depths: tuple[UnitStage, ...]) -> None:
    deepest = max(row.stage.depth for row in depths)
    rows = [
        (
            row.unit,
            row.stage.into,
            str(row.stage.depth),
            "deepest" if row.stage.depth == deepest else "",
        )
        for row in depths
    ]
    print_table(("unit", "into the registers", "nodes", ""), rows)


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
    if name is None:
        raise ValueError(f"{option} needs a machine: weft hardware sat-32x32 {option}")
    if name in gpu_names():
        raise ValueError(f"{option} is of SAT machines, which weft has in Verilog; {name} is a GPU")
    return load_machine(name)


def _sites(resources: Resources) -> tuple[str, ...]:
    return tuple(f"{value:,.10g}" for value in astuple(resources))


def _gpu_text(name: str) -> str:
    folder = importlib.resources.files("weft.sim.gpu.prediction") / "machines"
    return (folder / f"{name}.toml").read_text(encoding="utf-8")
