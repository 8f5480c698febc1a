"""``weft cosim``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from weft.cli.options import Json, Optimizer, Recipe, subcommand
from weft.cli.output import tell, write_json

if TYPE_CHECKING:
    from weft.rtl.cosimulation.cosim import CosimResult
    from weft.rtl.cosimulation.replaced import Replaced
    from weft.sim.machine import Machine
    from weft.step_cosim import StepResult

__all__ = ["app", "run_cosim", "run_step_cosim"]

app = subcommand()

_SHOWN = 12
Result = TypeVar("Result")


@app.command()
def cosim(
    product: Annotated[str, typer.Option(metavar="M,K,N", help="Sizes.")] = "64,64,64",
    pattern: Annotated[str, typer.Option(metavar="N:M|dense")] = "2:8",
    dataflow: Annotated[str, typer.Option(metavar="os|ws")] = "os",
    array: Annotated[str, typer.Option(metavar="RxC", help="A machine of that size.")] = "4x4",
    seed: Annotated[int, typer.Option(help="Of the tiling and the operands.")] = 0,
    program: Annotated[Path | None, typer.Option(help="Run a saved case again.")] = None,
    step: Annotated[
        str,
        typer.Option(
            metavar="MODEL", help="A whole training step of a small model, not a product."
        ),
    ] = "",
    recipe: Recipe = "bdwp",
    hardware: Annotated[
        str, typer.Option(help="For a step: a machine whose operands lie in words.")
    ] = "sat-4x4-words",
    optimizer: Optimizer = "sgd-momentum",
    dense_stem: Annotated[bool, typer.Option(help="Of a step: keep the first layer dense.")] = True,
    wave: Annotated[
        Path | None, typer.Option(help="Write the waveform: a .fst or .vcd file.")
    ] = None,
    replace: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE=FILE", help="Your Verilog in a module's place; repeatable."),
    ] = None,
    rtl: Annotated[
        Path | None, typer.Option(help="A folder of Verilog files that replace those they name.")
    ] = None,
    json: Json = None,
) -> None:
    """Run a program on the Verilog, the engine and the reference, and compare everything."""
    own = _replaced(replace or [], rtl)
    if step:
        status = run_step_cosim(
            *(step, recipe, pattern, hardware, optimizer, dense_stem, seed, wave, json, own)
        )
    else:
        status = run_cosim(product, pattern, dataflow, array, seed, program, wave, json, own)
    raise typer.Exit(status)


def _replaced(replacements: list[str], folder: Path | None) -> Callable[[Machine], Replaced]:
    """The user's modules, once the machine is known whose parameters they take."""

    def on(machine: Machine) -> Replaced:
        from weft.rtl.inspection.ports import replaced_modules

        return replaced_modules(machine, replacements, folder)

    return on


def _weft_alone(machine: Machine) -> Replaced:
    from weft.rtl.cosimulation.replaced import NONE

    return NONE


def run_cosim(
    product: str,
    pattern: str,
    dataflow: str,
    array: str,
    seed: int,
    program: Path | None,
    wave: Path | None,
    json_target: str | None,
    own: Callable[[Machine], Replaced] = _weft_alone,
) -> int:
    """Run one program on Verilog, engine and reference; 0 if all agree, 1 if not.

    Raises:
        ValueError: a product, array or file that does not fit, in one line.
    """
    from weft.rtl.cosimulation.cosim import cosim, machine_of_array, replay
    from weft.sim.machine import load_machine

    _check(wave)
    if program is not None:
        result = _told(lambda: replay(program, wave=wave, replaced=own))
    else:
        m, k, n = _numbers("--product", product, r"(\d+),(\d+),(\d+)", "M,K,N")
        rows, cols = _numbers("--array", array, r"(\d+)x(\d+)", "RxC")
        replaced = own(load_machine(machine_of_array(rows, cols)))
        size, shape = (m, k, n), (rows, cols)
        result = _told(
            lambda: cosim(size, pattern, dataflow, shape, seed, wave=wave, replaced=replaced)
        )
    if result is None:
        return 1
    if json_target is not None:
        write_json(_to_json(result), json_target)
    if json_target != "-":
        _show(result)
    return 0 if result.agrees else 1


def run_step_cosim(
    model: str,
    recipe: str,
    pattern: str,
    hardware: str,
    optimizer: str,
    dense_stem: bool,
    seed: int,
    wave: Path | None,
    json_target: str | None,
    own: Callable[[Machine], Replaced] = _weft_alone,
) -> int:
    """Train a model for one step on the Verilog, and compare with engine, reference and torch.

    Raises:
        ValueError: a model or machine that does not fit, in one line.
    """
    from weft.simulation import Settings
    from weft.step_cosim import cosim_step

    settings = Settings(
        recipe=recipe,
        pattern="" if pattern == "dense" else pattern,
        optimizer=optimizer,
        dense_stem=dense_stem,
        dense_classifier=False,
    ).on(hardware)
    _check(wave)
    result = _told(lambda: cosim_step(model, settings, seed=seed, wave=wave, replaced=own))
    if result is None:
        return 1
    if json_target is not None:
        cosim, more = _to_json(result.cosim), dataclasses.asdict(result)
        write_json({**cosim, **{k: v for k, v in more.items() if k != "cosim"}}, json_target)
    if json_target != "-":
        _show(result.cosim)
        _show_step(result)
    return 0 if result.agrees else 1


def _check(wave: Path | None) -> None:
    from weft.rtl.cosimulation.waveform import check_waveform

    if wave is not None:
        check_waveform(wave)


def _told(run: Callable[[], Result]) -> Result | None:
    """What ``run`` gives; none when the Verilog hung or broke its bus, which is told in a line.

    Raises:
        CosimError: Verilator or the compiler refused; the message ends with what it said last.
    """
    from weft.rtl.cosimulation.build import BuildError
    from weft.rtl.cosimulation.cosim import CosimError
    from weft.rtl.cosimulation.simulate import SimulationError

    try:
        return run()
    except SimulationError as error:
        tell(f"weft: {error}")
        return None
    except BuildError as error:
        lines = str(error).strip().splitlines()
        raise CosimError(" ".join([lines[0], *lines[1:][-3:]])) from error


def _show_step(result: StepResult) -> None:
    values = sum(check.values for check in result.checked)
    different = sum(check.different for check in result.checked)
    weights = sum(check.values for check in result.checked if check.tensor.endswith(":half"))
    print(f"weft simulate: {result.scheduled_cycles} cycles")
    print(
        f"torch: {weights} updated FP16 weights, and {values - weights} values of outputs, master "
        f"weights, optimizer state and compressed layouts checked, {different} different"
    )
    for check in result.checked:
        if check.different:
            print(f"differs: {check.different} of {check.values} values of {check.tensor}")


def _numbers(option: str, text: str, form: str, wanted: str) -> tuple[int, ...]:
    match = re.fullmatch(form, text)
    if match is None or "0" in match.groups():
        raise ValueError(f"{option} is {text!r}; it must be {wanted}, all positive")
    return tuple(int(group) for group in match.groups())


def _to_json(result: CosimResult) -> dict[str, Any]:
    return dataclasses.asdict(result)


def _show(result: CosimResult) -> None:
    print(f"{result.name} on {result.machine}, {result.simulator}, {result.wall_s:.1f} s")
    for module in result.replaced:
        print(f"replaced: {module}")
    print(f"{'':24}{'Verilog':>20}{'engine':>20}")
    for place, step in enumerate(result.instructions[:_SHOWN]):
        mine = f"{step.rtl_start}..{step.rtl_finish}"
        theirs = f"{step.engine_start}..{step.engine_finish}"
        print(f"{place:>4} {step.queue:<6} {step.work:<12}{mine:>20}{theirs:>20}")
    if len(result.instructions) > _SHOWN:
        print(f"     ... {len(result.instructions) - _SHOWN} more instructions")
    print(
        f"cycles: Verilog {result.rtl_cycles}, engine {result.engine_cycles}, reference "
        f"{result.reference_cycles}; largest difference at any start or finish "
        f"{result.cycle_difference}"
    )
    print(f"memory: {result.values_checked} bytes checked, {result.values_different} different")
    for difference in result.differences:
        print(f"differs: {difference}")
    if result.replay:
        print(f"to repeat: {result.replay}")
