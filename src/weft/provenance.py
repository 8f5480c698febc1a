"""Where a run comes from: command, versions, commit, and what each of its numbers rests on."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

from weft.mapper.pricing.machine import PricedMachine

__all__ = ["provenance", "source_commit", "this_command"]

_ALL = {
    "validated_work": "multiply-accumulates equal PyTorch's own count, forward and backward, for "
    "every zoo model and for models of others (tests/mapper)",
}


def provenance(machine: PricedMachine, command: str = "") -> dict[str, str]:
    """What a run on ``machine`` carries; keys that begin with ``validated`` speak for numbers."""
    found = {
        "command": command,
        "machine_file": machine.hardware,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "commit": source_commit(),
        **_ALL,
        **machine.evidence,
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
