"""Ops of the vector unit: how many lane operations, reads and writes each needs.

A lane operation is one of ``weft.sim.lanes.Kind`` on one element; an op has as many as its lane
program (``weft.sim.vector_programs``), which the Verilog runs.
Every op reads its distinct input elements once and writes its outputs once, unless its row says
that a second sweep over the first input is needed (a normalisation whose statistics must be
complete before it scales). Masks and indices count as elements of the op's width.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.lanes import Over
from weft.sim.vector_programs import ELEMENTWISE, ROWS, compile_program

__all__ = [
    "BACKWARD_SWEEPS",
    "FREE",
    "MOVES",
    "OVERWRITES",
    "POINTWISE",
    "SWEEPS",
    "UNBUILT",
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

UNBUILT = {"atan": 4, "atan2": 6, "polar": 6, "complex": 2}
"""Lane operations of what has a price but no lane program: the Verilog cannot run it."""

POINTWISE: dict[str, int] = UNBUILT | {name: compile_program(name).passes for name in ELEMENTWISE}
"""Lane operations per element of the output; all of them can be fused behind their producer."""


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
    formulas = [ROWS[name] for name in programs]
    made = [
        compile_program(name, formula.overs[0])
        for name, formula in zip(programs, formulas, strict=True)
    ]
    channels = formulas[0].overs == (Over.SLOTS,)
    return Sweep(sum(program.passes for program in made), sweeps, programs, channels)


_BATCH = _of("batch_sums", "batch_scale", sweeps=2)
_BATCH_BACKWARD = _of("batch_sums_backward", "batch_scale_backward", sweeps=2)

SWEEPS: dict[str, Sweep] = {
    # One running value per output element; no lane program multiplies up or keeps positions.
    **dict.fromkeys(
        _words("argmax argmin prod cumsum cumprod nansum count_nonzero cummax cummin"), Sweep(1)
    ),
    **{
        name: _of(name)
        for name in _words("sum mean amax amin max min any all norm linalg_vector_norm")
    },
    "logsumexp": _of("logsumexp", sweeps=2),
    # Sum and sum of squares.
    **{name: _of(name) for name in _words("var std var_mean std_mean")},
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
    # Square and sum per row, square root, scale by the quotient; no lane program.
    "_weight_norm_interface": Sweep(2, 2),
    "_weight_norm_interface_backward": Sweep(4, 2),
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
    im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle
    index_fill split_with_sizes_copy zeros ones full full_like zeros_like ones_like
    new_zeros new_ones new_full arange scalar_tensor eye linspace slice_backward
    select_backward diagonal_backward unfold_backward as_strided_scatter slice_scatter
    select_scatter rand randn randint rand_like randn_like tril_indices triu_indices one_hot
    randperm _pad_packed_sequence expand_copy permute_copy view_copy logspace
    reflection_pad2d_backward reflection_pad1d_backward unfold_copy
    replication_pad2d_backward replication_pad1d_backward diagonal_scatter
    """)
)
"""Copies and fills: one lane operation per element written."""

OVERWRITES = frozenset(
    _words("""
    copy fill zero bernoulli normal uniform random exponential
    """)
)
"""In place, these do not read what they write over."""
