"""Where a run comes from: command, versions, commit, and what each of its numbers rests on."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

__all__ = ["provenance", "source_commit", "this_command"]

_ALL = {
    "validated_work": "multiply-accumulates equal PyTorch's own count, forward and backward, for "
    "every zoo model and for models of others (tests/mapper)",
}
_SAT = {
    "validated_cycles": "the engine equals stepping the same program one instruction and one cycle "
    "at a time, on random and on scheduled programs (tests/sim, tests/mapper)",
    "validated_instructions": "the Verilog takes exactly these cycles and gives these bits (weft "
    "cosim, tests/rtl)",
    "validated_energy": "counted actions times a table of published figures; dynamic only, not "
    "measured on this machine",
}
_GPU = {
    "validated_time": "kernel model fitted to measured products; its errors on shapes it has not "
    "seen, and on published training steps: make bench-gpu",
    "validated_energy": "board power fitted where it was measured (H200, B200), from data sheets "
    "elsewhere: make bench-gpu",
}


def provenance(hardware: str, command: str = "") -> dict[str, str]:
    """What a run on ``hardware`` carries; keys that begin with ``validated`` speak for numbers."""
    from weft.sim.gpu.prediction.machine import is_gpu

    found = {
        "command": command,
        "machine_file": hardware,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "commit": source_commit(),
        **_ALL,
        **(_GPU if is_gpu(hardware) else _SAT),
    }
    return {key: text for key, text in found.items() if text}


def this_command() -> str:
    """The command line that runs, with weft's own name in front."""
    return " ".join(["weft", *sys.argv[1:]])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def source_commit() -> str:
    """The commit that weft runs from, where it runs from a git checkout; else nothing."""
    git = Path(__file__).resolve().parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text(encoding="ascii").strip()
        packed = (git / "packed-refs").read_text(encoding="ascii").splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")
    except (OSError, UnicodeDecodeError):
        return ""
