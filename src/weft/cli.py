"""The ``weft`` command. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "main"]

app = typer.Typer(
    name="weft",
    help="What one training run costs, with this sparsity recipe, on this machine, and why.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Recipe = Annotated[str, typer.Option(help="A name of `weft recipes`, or from-weights.")]
PatternOption = Annotated[
    str,
    typer.Option(
        help="N:M, for example 2:8, or a .json file of layer to N:M.", metavar="N:M|FILE.json"
    ),
]
Hardware = Annotated[str, typer.Option(help="A name of `weft hardware`, or a .toml file.")]
Batch = Annotated[int | None, typer.Option(help="Samples per step (zoo models).")]
Input = Annotated[str | None, typer.Option(metavar="C,H,W|T", help="Shape of one sample.")]
Steps = Annotated[int, typer.Option(help="Training steps to price.")]
Optimizer = Annotated[str, typer.Option(help="sgd, sgd-momentum, adam or adamw.")]
Without = Annotated[
    str,
    typer.Option(
        help="Features to turn off, comma-separated: interleave, pregeneration, "
        "offline-scheduling, double-buffering."
    ),
]
Fusion = Annotated[str, typer.Option(help="On a GPU: eager or compile.")]
Constants = Annotated[
    str, typer.Option(help="Of GPUs: what `weft calibrate` wrote.", metavar="FILE")
]
_MEMORY = "On SAT: simple (a fixed rate), ddr4-2400, hbm2e, or a .toml file."
Skip = Annotated[str, typer.Option(help="Layers to keep dense, comma-separated.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the run.", metavar="DIR")]
Accuracy = Annotated[
    Path | None, typer.Option(metavar="DIR|FILE", help="What `weft train --out` (--json) wrote.")
]
Json = Annotated[str | None, typer.Option(help="JSON to a file, or - for stdout.", metavar="FILE")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print it.")] = False) -> None:
    """Entry point; subcommands do the work."""
    if version:
        import weft

        typer.echo(weft.__version__)
        raise typer.Exit


@app.command()
def simulate(
    model: Annotated[
        str, typer.Argument(help="Zoo name, package.module:callable, file.py:… or topology.csv.")
    ],
    recipe: Recipe = "dense",
    pattern: PatternOption = "",
    hardware: Hardware = "sat-vcu1525",
    batch: Batch = None,
    input: Input = None,  # noqa: A002 - the name of the option
    steps: Steps = 1,
    optimizer: Optimizer = "sgd-momentum",
    without: Without = "",
    skip: Skip = "",
    dense_stem: Annotated[bool, typer.Option(help="Keep the first layer dense.")] = True,
    dense_classifier: Annotated[bool, typer.Option(help="Keep the last layer dense.")] = True,
    fusion: Fusion = "eager",
    dtype: Annotated[
        str, typer.Option(help="Of products on a GPU: auto, fp16, bf16, fp32, tf32, fp8 or int8.")
    ] = "auto",
    gpus: Annotated[int, typer.Option(min=1, help="GPUs, each with --batch samples.")] = 1,
    strategy: Annotated[
        str, typer.Option(help="Of several GPUs: replicated, sharded or sharded-gradients.")
    ] = "replicated",
    constants: Constants = "",
    memory: Annotated[str, typer.Option(help=_MEMORY)] = "",
    why: Annotated[
        bool | None,
        typer.Option("--why/--no-why", help="Critical path, what-if table; with --out by default."),
    ] = None,
    out: Out = None,
    json: Json = None,
    training: Annotated[
        bool, typer.Option("--training", help="Of a topology: backward pass and update too.")
    ] = False,
    window: Annotated[
        str,
        typer.Option(
            metavar="layer=NAME|cycles=A:B|samples", help="Part of the run that the trace shows."
        ),
    ] = "",
) -> None:
    """Simulate training a model, and say what it costs and why."""
    from weft.commands import run_simulate
    from weft.mapper.sparsity.patterns import pattern_setting
    from weft.simulation import Settings

    settings = Settings(
        recipe=recipe,
        pattern=pattern_setting(pattern),
        hardware=hardware,
        steps=steps,
        optimizer=optimizer,
        without=without,
        skip=_names(skip),
        dense_stem=dense_stem,
        dense_classifier=dense_classifier,
        fusion=fusion,
        memory=memory,
        dtype=dtype,
        gpus=gpus,
        strategy=strategy,
        constants=constants,
    )
    run_simulate(
        model,
        batch,
        _shape(input),
        settings,
        out,
        json,
        why=why,
        training=training,
        window=window,
    )


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(help="Models, as for simulate.")],
    recipe: Annotated[list[str] | None, typer.Option(help="Recipes; dense is always run.")] = None,
    pattern: Annotated[list[str] | None, typer.Option(metavar="N:M")] = None,
    hardware: Annotated[list[str] | None, typer.Option(help="Machines.")] = None,
    batch: Batch = None,
    input: Input = None,  # noqa: A002 - the name of the option
    steps: Steps = 1,
    optimizer: Optimizer = "sgd-momentum",
    without: Without = "",
    fusion: Fusion = "eager",
    memory: Annotated[list[str] | None, typer.Option(help=_MEMORY)] = None,
    accuracy: Accuracy = None,
    jobs: Annotated[int, typer.Option(min=0, help="Runs at a time; 0: one per core.")] = 0,
    out: Out = None,
    json: Json = None,
) -> None:
    """Run a grid of models, recipes, patterns and machines, and set them side by side."""
    from weft.commands import run_compare
    from weft.grid import Grid
    from weft.mapper.sparsity.patterns import pattern_setting
    from weft.simulation import Settings

    grid = Grid(
        tuple(models),
        tuple(recipe or ["dense"]),
        tuple(map(pattern_setting, pattern or [""])),
        tuple(hardware or ["sat-vcu1525"]),
        tuple(memory or [""]),
    )
    base = Settings(steps=steps, optimizer=optimizer, without=without, fusion=fusion)
    run_compare(grid, batch, _shape(input), base, out, json, workers=jobs, trained=accuracy)


@app.command()
def train(
    model: Annotated[str, typer.Argument(help="A zoo model.")],
    data: Annotated[str, typer.Option(help="digits, synthetic, chars, a folder or a text file.")],
    recipe: Annotated[list[str] | None, typer.Option(help="Recipes; several are paired.")] = None,
    pattern: PatternOption = "2:8",
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 400,
    seed: Annotated[int, typer.Option(help="Of weights, batches and random masks.")] = 0,
    seeds: Annotated[int, typer.Option(help="How many seeds, from --seed on.")] = 1,
    hardware: Hardware = "sat-vcu1525",
    batch: Annotated[int, typer.Option(help="Samples per step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Its peak.")] = 3e-3,
    optimizer: Optimizer = "adamw",
    skip: Skip = "",
    device: Annotated[str, typer.Option(help="Where PyTorch trains.")] = "cpu",
    out: Out = None,
    json: Json = None,
) -> None:
    """Train a model sparsely for real, every step priced on a machine; run again to resume."""
    from weft.mapper.sparsity.patterns import pattern_setting
    from weft.models.training.settings import TrainSettings
    from weft.train_command import run_train

    recipes = tuple(recipe or ["dense"])
    settings = TrainSettings(
        model=model,
        data=data,
        recipe=recipes[0],
        pattern=pattern_setting(pattern),
        steps=steps,
        seed=seed,
        batch=batch,
        learning_rate=learning_rate,
        optimizer=optimizer,
        skip=_names(skip),
        device=device,
    )
    run_train(settings, recipes, seeds, hardware, out, json)


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
    json: Json = None,
) -> None:
    """Run a program on the Verilog, the engine and the reference, and compare everything."""
    from weft.cosim_command import run_cosim, run_step_cosim

    if step:
        raise typer.Exit(
            run_step_cosim(step, recipe, pattern, hardware, optimizer, dense_stem, seed, wave, json)
        )
    raise typer.Exit(run_cosim(product, pattern, dataflow, array, seed, program, wave, json))


@app.command()
def ablate(
    models: Annotated[list[str], typer.Argument(help="Models, as for simulate.")],
    recipe: Recipe = "bdwp",
    pattern: PatternOption = "2:8",
    hardware: Hardware = "sat-vcu1525",
    batch: Batch = None,
    input: Input = None,  # noqa: A002 - the name of the option
    json: Json = None,
) -> None:
    """Turn off SAT's features one by one, and tell what each is worth."""
    from weft.commands import run_ablate
    from weft.simulation import Settings

    settings = Settings(recipe=recipe, pattern=pattern, hardware=hardware)
    run_ablate(tuple(models), batch, _shape(input), settings, json)


@app.command()
def predict(
    products: Annotated[Path, typer.Argument(help="CSV with m,n,k[,batch,dtype,sparsity].")],
    hardware: Hardware = "sat-vcu1525",
    constants: Constants = "",
    out: Annotated[Path | None, typer.Option(help="CSV to write; default stdout.")] = None,
) -> None:
    """Fill a table of matrix products with their time on a machine."""
    from weft.prediction import predict_table

    predict_table(products, hardware, out, constants)


@app.command()
def measure(
    out: Annotated[Path, typer.Option(help="CSV to write, row by row.", metavar="FILE")],
    copies: Annotated[int, typer.Option(min=1, help="Weights that take turns.")] = 6,
    replays: Annotated[int, typer.Option(min=3, help="Timed runs; their median counts.")] = 15,
    power_s: Annotated[float, typer.Option(min=0, help="Seconds of each for its power.")] = 0.3,
    steps: Annotated[bool, typer.Option(help="Training steps too, after the products.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many products.")] = None,
) -> None:
    """Time dense and 2:4 products and training steps on the NVIDIA GPU at hand."""
    from weft.measure import Settings, measure_command

    settings = Settings(copies, replays, power_s, steps, limit=limit)
    raise typer.Exit(measure_command(out, settings))


@app.command()
def calibrate(
    measurements: Annotated[
        Path, typer.Argument(help="CSV with m,n,k,time_us[,batch,dtype,sparsity,what].")
    ],
    hardware: Annotated[str, typer.Option(help="The GPU that was measured.")],
    out: Annotated[Path, typer.Option(help="Constants to write.", metavar="FILE")] = Path(
        "constants.json"
    ),
    copies: Annotated[
        int, typer.Option(min=1, help="Weights that took turns in the measurement.")
    ] = 6,
) -> None:
    """Fit the GPU model's constants to your own measurements; use them with --constants."""
    from weft.calibration import run_calibrate

    run_calibrate(measurements, hardware, out, copies)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    format: Annotated[str, typer.Option(help="html, md, csv, parquet or png.")] = "html",  # noqa: A002
    accuracy: Accuracy = None,
    window: Annotated[
        str,
        typer.Option(metavar="layer=NAME|cycles=A:B", help="Part of the run's trace to draw."),
    ] = "",
    out: Annotated[Path | None, typer.Option(help="File to write.")] = None,
) -> None:
    """Build a run's report again, or merge several runs into one comparison."""
    from weft.commands import run_report

    run_report(runs, format, out, accuracy, window)


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
    from weft.listing import show_area, show_hardware, show_structure

    if area:
        show_area(name)
    elif structure:
        show_structure(name)
    else:
        show_hardware(name)


@app.command("models")
def list_models() -> None:
    """List the models that ship with weft."""
    from weft.listing import show_models

    show_models()


@app.command("recipes")
def list_recipes() -> None:
    """List the sparse training recipes."""
    from weft.listing import show_recipes

    show_recipes()


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _shape(text: str | None) -> tuple[int, ...] | None:
    """Read ``C,H,W`` or ``T``."""
    if text is None:
        return None
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) not in (1, 3) or min(shape, default=0) < 1:
        raise ValueError(f"--input is {text!r}; it must be C,H,W or T, all positive")
    return shape


_LISTS = ("--recipe", "--pattern", "--hardware", "--memory")
"""Options that take several values."""


def _spread(arguments: list[str]) -> list[str]:
    """Let options of ``compare`` and ``train`` take several values, as if they were repeated."""
    if not arguments or arguments[0] not in ("compare", "train"):
        return arguments
    spread: list[str] = []
    option = ""
    fresh = False
    for argument in arguments:
        if argument.startswith("-"):
            option = argument if argument in _LISTS else ""
            fresh = True
        elif option and not fresh:
            spread.append(option)
        else:
            fresh = False
        spread.append(argument)
    return spread


_UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]
"""Typer's base of all command-line mistakes, wherever its version keeps it."""


_INTERRUPTED = "interrupted; nothing half-written is left"
_SIGINT_STATUS = 130


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit status 2."""
    try:
        status = app(_spread(sys.argv[1:]) or ["--help"], standalone_mode=False)
    except _UsageProblem as error:
        _fail(getattr(error, "format_message", error.__str__)())
    except (KeyboardInterrupt, typer.Abort):
        _fail(_INTERRUPTED)
    except BrokenPipeError:
        from weft.output import silence_stdout

        silence_stdout()
        sys.exit(0)
    except (ValueError, OSError) as error:
        from weft.faults import is_users_mistake

        if not is_users_mistake(error):
            raise
        _fail(str(error))
    else:
        if status == _SIGINT_STATUS:  # typer turns Ctrl-C into this
            _fail(_INTERRUPTED)
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    line = " ".join(message.split())
    print(f"weft: {line}", file=sys.stderr)
    sys.exit(2)
