"""DRAM in detail, and the memories that ship."""

from weft.sim.dram.controller import (
    Dram,
    DramError,
    dram_names,
    load_dram,
    parse_dram,
    stream_clocks,
)

__all__ = [
    "Dram",
    "DramError",
    "dram_names",
    "load_dram",
    "parse_dram",
    "stream_clocks",
]
