"""The ``weft`` command: a module per subcommand, imported when it is called for."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "simulate": "Simulate training a model, and say what it costs and why.",
    "compare": "Run a grid of models, recipes, patterns and machines, and set them side by side.",
    "train": "Train a model sparsely for real, every step priced on a machine.",
    "cosim": "Run a program on the Verilog, the engine and the reference, and compare everything.",
    "ablate": "Turn off SAT's features one by one, and tell what each is worth.",
    "predict": "Fill a table of matrix products with their time on a machine.",
    "measure": "Time dense and 2:4 products and training steps on the NVIDIA GPU at hand.",
    "calibrate": "Fit the GPU model's constants to your own measurements.",
    "export": "Write a training step in another simulator's format.",
    "explain": "Set a PyTorch profiler trace beside the prediction, kernel by kernel.",
    "report": "Build a run's report again, or merge several runs into one comparison.",
    "hardware": "List the machines, or show one with its sources.",
    "models": "List the models that ship with weft.",
    "recipes": "List the sparse training recipes.",
}
"""Subcommands in the order of the help, each with its line of it; ``weft.cli.NAME`` has ``app``."""


class _Commands(TyperGroup):
    """Subcommands that are imported when called, so that the help costs nothing."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            hint = f"; nearest: {near[0]}" if near else ""
            raise ValueError(f"no command {cmd_name!r}{hint}; known: {', '.join(COMMANDS)}")
        command = typer.main.get_command(importlib.import_module(f"weft.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    name="weft",
    cls=_Commands,
    help="What one training run costs, with this sparsity recipe, on this machine, and why.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print it.")] = False) -> None:
    """Entry point; subcommands do the work."""
    if version:
        import weft

        typer.echo(weft.__version__)
        raise typer.Exit


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
        from weft.cli.output import silence_stdout

        silence_stdout()
        sys.exit(0)
    except (ValueError, OSError) as error:
        from weft.faults import is_users_mistake

        if not is_users_mistake(error):
            raise
        _fail(_as_typed(str(error)))
    else:
        if status == _SIGINT_STATUS:  # typer turns Ctrl-C into this
            _fail(_INTERRUPTED)
        sys.exit(status if isinstance(status, int) else 0)


_SETTING = re.compile(r"^([a-z_]+)(?=( is |: | '| \d+ is for ))")
"""How a message about a setting begins, by the setting's name in Python."""


def _as_typed(message: str) -> str:
    """The message with the setting that it begins with named as on the command line."""
    found = _SETTING.match(message)
    option = f"--{found[1].replace('_', '-')}" if found else ""
    known = any(f"{option} " in f"{argument.partition('=')[0]} " for argument in sys.argv[1:])
    return option + message[found.end() :] if found and known else message


def _fail(message: str) -> None:
    line = " ".join(message.split())
    print(f"weft: {line}", file=sys.stderr)
    sys.exit(2)
