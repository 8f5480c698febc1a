"""The machine in Verilog: one module per file, the file named for it."""

from pathlib import Path

__all__ = ["VERILOG"]

VERILOG = Path(__file__).resolve().parent
"""Where the Verilog lies."""
