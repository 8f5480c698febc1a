"""Planted faults: one-line changes of the Verilog, of which every one must be noticed.

All mutants are built into one simulation; the bench's port ``mutant`` turns one of them on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weft.rtl.cosimulation.build import Design

__all__ = ["MUTANTS", "Mutant", "plant"]


@dataclass(frozen=True)
class Mutant:
    """In ``module`` the expression ``old``, which occurs once, becomes ``new``."""

    module: str
    old: str
    new: str


MUTANTS = (
    Mutant("sore_lane", "magnitude > rank_magnitude[i]", "magnitude >= rank_magnitude[i]"),
    Mutant("sore_lane", "leaves[i-1] || hit", "hit"),
    Mutant("sore", "is_across ? sort_element : flat[LANE_WIDTH+3:LANE_WIDTH]", "sort_element"),
    Mutant("sore", "{fill_page, fill_word}", "{1'b0, fill_word}"),
    Mutant(
        "sore",
        "rounds * pattern_m + PIPELINE_CYCLES - 2",
        "rounds * pattern_m + PIPELINE_CYCLES - 1",
    ),
    Mutant("queue", "(waits & ~available) == 0", "1'b1"),
    Mutant("queue", "held && unit_idle", "held"),
    Mutant("token_counters", "give[channel] && !take[channel]", "give[channel]"),
    Mutant("unit_control", "busy ? held : signals", "signals"),
    Mutant("beat_pacer", "busy && left != 40'd1", "busy && left != 40'd0"),
    Mutant("burst_walker", "to_border < 13'd256 ? to_border : 13'd256", "13'd256"),
    Mutant("burst_walker", "run_address + {8'd0, stride}", "run_address"),
    Mutant("load_unit", "run == ticket_runs - 20'd1", "1'b1"),
    Mutant("load_unit", "ticket_beat + offset", "ticket_beat"),
    Mutant("store_unit", "chunk != 11'd0 && chunk_left == 11'd1", "1'b0"),
    Mutant("store_unit", "run_ends && tail != 8'd0", "1'b0"),
    Mutant("store_unit", "asked_narrow ? halves : bank_data[8*BEAT_BYTES-1:0]", "halves"),
    Mutant("store_unit", "now + SYNC_DELAY", "now + SYNC_DELAY - 32'd1"),
    Mutant("store_unit", "bvalid && burst_ending[burst_head]", "bvalid"),
    Mutant("fp32_to_fp16", "half_bit && (sticky || kept[0])", "half_bit"),
    Mutant("fp32_to_fp16", "normal ? 5'd0 : distance > 8'd24 ? 5'd25 : distance[4:0]", "5'd0"),
    Mutant(
        "fp32_adder",
        "& (normalized[4] | normalized[2] | normalized[1] | normalized[0])",
        "& 1'b1",
    ),
    Mutant("fp32_adder", "x[31] & y[31]", "x[31]"),
    Mutant("fp16_multiplier", "a[15] ^ b[15]", "a[15]"),
    Mutant("uspe", "weight_stationary ? kept[19:16] : south_index", "south_index"),
    Mutant("uspe", "weight_stationary ? north_sum : 32'd0", "north_sum"),
    Mutant(
        "column_port",
        "weight_stationary ? array_sum : accumulate ? added : drained_word",
        "weight_stationary ? array_sum : drained_word",
    ),
    Mutant("stce_unit", "issue > least ? issue : least", "issue"),
    Mutant("left_buffer", "turn % GROUPS", "32'd0"),
    Mutant("right_buffer", "beat % GROUPS", "32'd0"),
    Mutant("output_buffer", "!store_narrow && store_beat[0]", "1'b0"),
    Mutant(
        "sat_top", "right_data[20*i+:20] & {matmul_index_planes, 16'hFFFF}", "right_data[20*i+:20]"
    ),
    Mutant(
        "sat_top",
        "matmul_left_base + {8'd0, left_address[16*i+:16]}",
        "{8'd0, left_address[16*i+:16]}",
    ),
    Mutant("sat_top", "from_wuve ? sore_weights : sore_mask", "sore_mask"),
    Mutant("wuve_lane", "more || a_nan ? a : b", "more ? a : b"),
    Mutant("wuve_lane", "less || a_nan ? a : b", "less ? a : b"),
    Mutant("wuve_lane", "zeros || a == b", "a == b"),
    Mutant("wuve_lane", "a[31] && !a_nan", "a[31]"),
    Mutant("wuve_lane", "{state[18:0], 13'd0}", "{state[19:0], 12'd0}"),
    Mutant("wuve_lane", "write && write_address == a_address", "1'b0"),
    Mutant("wuve", "step != last_step", "1'b0"),
    Mutant("wuve", "is_planar ? made_has_work : first_slot", "first_slot"),
    Mutant("wuve", "made_word == 2'd1 ? plane : {plane[22:0], 1'b0}", "plane"),
    Mutant("wuve", "ends ? strip_round : step_round", "step_round"),
    Mutant("wuve", "op_displaced ? displacement : 24'd0", "24'd0"),
    Mutant("wuve", "is_by_strip ? strip1 : step1", "step1"),
    Mutant("wuve", "slot1 ^ other_bit[SLOT_BITS:1]", "slot1"),
    Mutant("wuve", "is_limit == 2'd1 ? last_step1 : last_strip1", "last_strip1"),
    Mutant("wuve", "guard == 2'd1 ? in_row : first_slot", "in_row"),
    Mutant("wuve", "raw_a[32*(i^(1<<e))+:32]", "raw_a[32*i+:32]"),
    Mutant("wuve", "a[31] && !op2_absolute_a", "a[31]"),
    Mutant("wuve", "row_lane == {LANE_BITS{1'b0}}", "1'b0"),
    Mutant("wuve", "first_number | LANE", "first_number"),
    Mutant("wuve", "{{(23 - SLOT_BITS) {1'b0}}, slot2}", "{{(23 - SLOT_BITS) {1'b0}}, slot1}"),
    Mutant("wuve", "{op_function, op_kind} == 6'd7", "op_kind == 3'd7"),
    Mutant("wuve_lane", "function_now[0] ? number_now : drawn[31:9]", "drawn[31:9]"),
    Mutant("function_unit", "which1 == EXP2 ? sign : turn[21]", "sign"),
    Mutant("function_unit", "which == MILLS ? 10'd152 : 10'd150", "10'd150"),
    Mutant("function_unit", "is_log ? above[37] : aside4[33]", "aside4[33]"),
    Mutant("function_unit", "is_log ? below[35:0] : 36'd0", "below[35:0]"),
    Mutant("output_buffer", "lane_writes ? lane_write_line : write_at / DEEP", "write_at / DEEP"),
    Mutant("sat_top", "fused_base + fused_write_at", "fused_write_at"),
    Mutant("fp32_multiplier", "a[31] ^ b[31]", "a[31]"),
)
"""At least one in every module that a program runs through."""


def plant(design: Design, mutants: Sequence[Mutant], folder: Path) -> Design:
    """``design`` with all ``mutants`` in it, its changed sources in ``folder``.

    Raises:
        ValueError: an expression that does not occur exactly once.
    """
    sources = {source.stem: source.read_text(encoding="utf-8") for source in design.sources}
    for number, mutant in enumerate(mutants, start=1):
        text = sources[mutant.module]
        if text.count(mutant.old) != 1:
            raise ValueError(f"{mutant.module}: {text.count(mutant.old)} times {mutant.old!r}")
        both = f"((cosim_top.mutant == {number}) ? ({mutant.new}) : ({mutant.old}))"
        sources[mutant.module] = text.replace(mutant.old, both)
    port = "    input  wire [ 7:0] pause_b,\n"
    sources["cosim_top"] = sources["cosim_top"].replace(
        port, f"{port}    input wire [7:0] mutant,\n"
    )
    paths: list[Path] = []
    for source in design.sources:
        path = folder / source.name
        path.write_text(sources[source.stem], encoding="utf-8")
        paths.append(path)
    visible = (*design.visible, "cosim_top.mutant")
    return dataclasses.replace(design, sources=tuple(paths), visible=visible)
