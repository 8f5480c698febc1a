"""Ops of the vector unit: how many lane operations, reads and writes each needs.

A lane operation is one of ``weft.sim.lanes.Kind`` on one element; an op has as many as its lane
program (``weft.sim.lanes.programs``), which the Verilog runs.
Every op reads its distinct input elements once and writes its outputs once, unless its row says
that a second sweep over the first input is needed (a normalisation whose statistics must be
complete before it scales). Masks and indices count as elements of the op's width.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.lanes import Over
from weft.sim.lanes.programs import ELEMENTWISE, PROGRAMS, compile_program

__all__ = [
    "ACCUMULATES",
    "BACKWARD_SWEEPS",
    "COMPONENTWISE",
    "FREE",
    "GENERATES",
    "MOVES",
    "OVERWRITES",
    "POINTWISE",
    "SWEEPS",
    "Sweep",
]


def _words(text: str) -> list[str]:
    return text.split()


FREE = frozenset(
    _words("""
    empty empty_like empty_strided empty_permuted new_empty new_empty_strided detach_
    _record_function_enter_new _record_function_exit set_ resize_ t_ transpose_ squeeze_
    unsqueeze_ requires_grad_ _local_scalar_dense record_stream as_strided_
    """)
)
"""Ops that move nothing although their schema does not say that they are views."""

POINTWISE: dict[str, int] = {name: compile_program(name).passes for name in ELEMENTWISE}
"""Lane operations per element of the output; all of them can be fused behind their producer."""

COMPONENTWISE = frozenset(_words("copy _to_copy clone add sub neg rsub fill zero _conj_physical"))
"""What does to each part of a complex number what it does to a real one."""


@dataclass(frozen=True)
class Sweep:
    """An op that goes over its first input as a whole.

    ``passes`` lane operations per element of the first input, those of its ``programs`` where it
    has some; the input is read ``sweeps`` times. ``channels``: rows are channels, and a row's
    elements lie apart.
    """

    passes: int
    sweeps: int = 1
    programs: tuple[str, ...] = ()
    channels: bool = False


def _of(*programs: str, sweeps: int = 1) -> Sweep:
    formulas = [PROGRAMS[name] for name in programs]
    made = [
        compile_program(name, formula.overs[0])
        for name, formula in zip(programs, formulas, strict=True)
    ]
    channels = formulas[0].overs == (Over.SLOTS,)
    return Sweep(sum(program.passes for program in made), sweeps, programs, channels)


_BATCH = _of("batch_sums", "batch_scale", sweeps=2)
_BATCH_BACKWARD = _of("batch_sums_backward", "batch_scale_backward", sweeps=2)

SWEEPS: dict[str, Sweep] = {
    # One running value per output element.
    **{
        name: _of(name)
        for name in _words(
            """sum mean amax amin max min any all norm linalg_vector_norm prod nansum count_nonzero
            argmax argmin cumsum cumprod"""
        )
    },
    "_is_all_true": _of("all"),
    "_is_any_true": _of("any"),
    "aminmax": _of("amax", "amin"),
    # Values and places.
    "cummax": _of("cummax_places", "cummax"),
    "cummin": _of("cummin_places", "cummin"),
    "logsumexp": _of("logsumexp", sweeps=2),
    # Sum and sum of squares.
    **{name: _of(name) for name in _words("var std")},
    "var_mean": _of("var", "mean"),
    "std_mean": _of("std", "mean"),
    # Sum and sum of squares; then scale and shift as one multiply-add.
    "native_batch_norm": _BATCH,
    "_native_batch_norm_legit": _BATCH,
    "_native_batch_norm_legit_no_training": _of("batch_scale"),
    "_batch_norm_with_update": _BATCH,
    "native_layer_norm": _of("native_layer_norm", sweeps=2),
    "native_group_norm": _of("native_layer_norm", sweeps=2),
    "_fused_rms_norm": _of("_fused_rms_norm", sweeps=2),
    # Normalise again, two sums (of the gradient, and of it times the normalised input), then
    # two multiply-adds; both the gradient and the input are swept twice. Weights' gradients are
    # two more sums.
    "native_batch_norm_backward": _BATCH_BACKWARD,
    "batch_norm_backward": _BATCH_BACKWARD,
    "native_layer_norm_backward": _of("native_layer_norm_backward", "weight_sums", sweeps=2),
    "native_group_norm_backward": _of("native_layer_norm_backward", "weight_sums", sweeps=2),
    "_fused_rms_norm_backward": _of("_fused_rms_norm_backward", "weight_sums", sweeps=2),
    # Square and sum per row, square root, scale by the quotient; a row's elements lie apart.
    "_weight_norm_interface": _of("_weight_norm_interface", sweeps=2),
    "_weight_norm_interface_backward": _of("_weight_norm_interface_backward", sweeps=2),
    # Maximum; exponentials and their sum; exponentials again, scaled.
    "_softmax": _of("_softmax", sweeps=2),
    "_safe_softmax": _of("_safe_softmax", sweeps=2),
    "_log_softmax": _of("_log_softmax", sweeps=2),
    # Sum of products, then subtract and multiply.
    "_softmax_backward_data": _of("_softmax_backward_data", sweeps=2),
    "_log_softmax_backward_data": _of("_log_softmax_backward_data", sweeps=2),
}
"""Reductions and normalisations."""

BACKWARD_SWEEPS = frozenset(name for name in SWEEPS if "backward" in name)

MOVES = frozenset(
    _words("""
    cat stack repeat repeat_interleave roll flip constant_pad_nd reflection_pad1d
    reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d
    im2col pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle
    split_with_sizes_copy zeros ones full full_like zeros_like ones_like
    new_zeros new_ones new_full arange scalar_tensor eye linspace slice_backward
    select_backward diagonal_backward as_strided_scatter slice_scatter
    select_scatter tril_indices triu_indices randperm _pad_packed_sequence expand_copy
    permute_copy diagonal_copy view_copy logspace unfold_copy diagonal_scatter
    """)
)
"""Copies and fills: one lane operation per element written; the host knows what it fills with."""

GENERATES = {
    "rand": "uniform", "rand_like": "uniform", "randn": "normal", "randn_like": "normal",
    "randint": "random", "randint_like": "random",
}  # fmt: skip
"""Random tensors and the programs that make them."""

ACCUMULATES = frozenset(
    _words("""
    col2im unfold_backward reflection_pad1d_backward reflection_pad2d_backward
    reflection_pad3d_backward replication_pad1d_backward replication_pad2d_backward
    replication_pad3d_backward
    """)
)
"""Copies of overlapping parts back to one tensor, where they are added."""

OVERWRITES = frozenset(
    _words("""
    copy fill zero bernoulli normal uniform random exponential
    """)
)
"""In place, these do not read what they write over."""
