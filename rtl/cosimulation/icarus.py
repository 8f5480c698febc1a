"""The same Verilog under Icarus, where that is installed: with four values, so that x shows."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from weft.rtl.cosimulation.build import BuildError, Design

__all__ = ["build_icarus", "compile_icarus", "has_icarus", "icarus_launcher"]


def has_icarus() -> bool:
    """Whether its compiler and its runtime are on the path."""
    return shutil.which("iverilog") is not None and shutil.which("vvp") is not None


def compile_icarus(design: Design, target: Path | None = None) -> str:
    """Elaborate ``design`` as Verilog-2001 with all warnings on; returns what was said.

    Raises:
        BuildError: Icarus refused.
    """
    values = [f"-P{design.top}.{name}={value}" for name, value in design.parameters.items()]
    output = ["-t", "null"] if target is None else ["-o", str(target)]
    command = ["iverilog", "-g2001", "-Wall", "-Wno-timescale", *output, "-s", design.top, *values]
    result = subprocess.run(
        [*command, *map(str, design.sources)], capture_output=True, text=True, check=False
    )
    said = result.stdout + result.stderr
    if result.returncode:
        raise BuildError(f"iverilog failed with status {result.returncode}:\n{said}")
    return said


def build_icarus(design: Design, folder: Path) -> Path:
    """Compile ``design`` into ``folder``; what comes out runs with ``icarus_launcher``.

    Raises:
        BuildError: as ``compile_icarus``.
    """
    target = folder / design.top
    compile_icarus(design, target)
    return target


def icarus_launcher() -> Sequence[str]:
    """Icarus' runtime with cocotb in it."""
    import cocotb_tools.config as config

    (library,) = Path(config.libs_dir).glob("libcocotbvpi_icarus.*")
    return ("vvp", "-m", str(library))
