"""Waveforms: what Verilator writes is VCD; as FST it is a few per cent of the size.

Verilator's own FST writer needs headers that a machine without system packages lacks, so the VCD is
turned into FST by the format's reference library (GTKWave's libfst, from PyPI as ``pylibfst``).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

__all__ = ["WaveformError", "check_waveform", "vcd_to_fst"]


class WaveformError(ValueError):
    """A waveform that cannot be written."""


def check_waveform(path: Path) -> None:
    """Refuse a waveform before anything runs for it.

    Raises:
        WaveformError: neither .vcd nor .fst, a folder that is not there, no library for FST.
    """
    if path.suffix not in (".vcd", ".fst"):
        raise WaveformError(f"waveform {path}; the file ends in .vcd or .fst")
    if not path.parent.is_dir():
        raise WaveformError(f"waveform {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise WaveformError(f"waveform {path} is a folder")
    if path.suffix == ".fst" and importlib.util.find_spec("pylibfst") is None:
        raise WaveformError(
            f"waveform {path}: FST needs pylibfst from PyPI; or let the file end in .vcd"
        )


def vcd_to_fst(source: Path, target: Path) -> None:
    """Write the VCD in ``source`` as FST.

    Raises:
        WaveformError: a VCD of another form than Verilator's, or a file that cannot be made.
    """
    from pylibfst import ffi, lib

    writer = lib.fstWriterCreate(str(target).encode(), 1)
    if writer == ffi.NULL:
        raise WaveformError(f"waveform {target} cannot be written")
    try:
        with source.open("rb") as lines:
            variables = _hierarchy(lines, lib, writer)
            _changes(lines, lib, writer, variables)
    finally:
        lib.fstWriterClose(writer)


Variables = dict[bytes, tuple[int, int]]
"""Handle and bits by the code that stands for a variable."""


def _hierarchy(lines: Any, lib: Any, writer: Any) -> Variables:
    variables: Variables = {}
    for line in lines:
        match line.split():
            case [b"$enddefinitions", *_]:
                return variables
            case [b"$timescale", scale, b"$end"]:
                lib.fstWriterSetTimescaleFromString(writer, scale)
            case [b"$scope", _, name, b"$end"]:
                lib.fstWriterSetScope(writer, lib.FST_ST_VCD_MODULE, name, b"")
            case [b"$upscope", b"$end"]:
                lib.fstWriterSetUpscope(writer)
            case [b"$var", _, bits, code, *name, b"$end"]:
                width = int(bits)
                alias = variables[code][0] if code in variables else 0
                handle = lib.fstWriterCreateVar(
                    writer, lib.FST_VT_VCD_WIRE, lib.FST_VD_IMPLICIT, width, b" ".join(name), alias
                )
                variables.setdefault(code, (handle, width))
            case _:
                pass
    raise WaveformError("a VCD without an end of its definitions")


def _changes(lines: Any, lib: Any, writer: Any, variables: Variables) -> None:
    emit, time = lib.fstWriterEmitValueChange, lib.fstWriterEmitTimeChange
    for line in lines:
        kind = line[:1]
        if kind == b"b":
            value, code = line[1:].split()
            handle, width = variables[code]
            emit(writer, handle, value.rjust(width, b"0"))
        elif kind in b"01xz":
            handle, _ = variables[line[1:-1]]
            emit(writer, handle, kind)
        elif kind == b"#":
            time(writer, int(line[1:]))
