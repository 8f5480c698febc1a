"""Ops of the vector unit: how many lane operations, reads and writes each needs.

A lane operation is one add, multiply, multiply-add, compare, select, conversion, random number
or elementary function (exp, log, tanh, erf, sigmoid, square root, reciprocal) on one element.
Every op reads its distinct input elements once and writes its outputs once, unless its row says
that a second sweep over the first input is needed (a normalisation whose statistics must be
complete before it scales). Masks and indices count as elements of the op's width.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BACKWARD_SWEEPS",
    "FREE",
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

POINTWISE: dict[str, int] = {
    **dict.fromkeys(
        _words(
            """
    add sub rsub mul neg abs maximum minimum clamp clamp_min clamp_max relu threshold where
    masked_fill bitwise_and bitwise_or bitwise_not bitwise_xor logical_and logical_or
    logical_not logical_xor eq ne lt le gt ge isnan isinf sign sgn floor ceil round trunc
    fill copy _to_copy clone square threshold_backward bernoulli exp log log2 log1p expm1
    tanh sigmoid erf erfc sqrt rsqrt reciprocal sin cos tan atan atan2 lift_fresh
    lift_fresh_copy zero normal uniform random exponential native_dropout_backward
    bitwise_left_shift bitwise_right_shift nan_to_num _conj_physical isfinite signbit triu
    tril
    """
        ),
        1,
    ),
    **dict.fromkeys(
        _words(
            """
    div addcmul remainder fmod floor_divide pow leaky_relu hardtanh hardsigmoid
    native_dropout lerp mse_loss leaky_relu_backward hardtanh_backward hardsigmoid_backward
    prelu _prelu_kernel tanh_backward sigmoid_backward logaddexp xlogy heaviside addcdiv
    rrelu_with_noise polar complex
    """
        ),
        2,
    ),
    **dict.fromkeys(
        _words(
            """
    silu elu celu selu softplus hardswish logit mse_loss_backward softplus_backward
    elu_backward log_sigmoid_forward huber_loss smooth_l1_loss hardswish_backward
    _prelu_kernel_backward glu mish
    """
        ),
        3,
    ),
    **dict.fromkeys(
        _words(
            """
    gelu binary_cross_entropy binary_cross_entropy_with_logits smooth_l1_loss_backward
    huber_loss_backward log_sigmoid_backward glu_backward binary_cross_entropy_backward
    logit_backward
    """
        ),
        5,
    ),
    "silu_backward": 6,
    "gelu_backward": 8,
    "mish_backward": 8,
}
"""Lane operations per element of the output; all of them can be fused behind their producer."""


@dataclass(frozen=True)
class Sweep:
    """An op that goes over its first input as a whole.

    ``passes`` lane operations per element of the first input, which is read ``sweeps`` times.
    """

    passes: int
    sweeps: int = 1


SWEEPS: dict[str, Sweep] = {
    # One running value per output element.
    **dict.fromkeys(
        _words(
            """
    sum mean amax amin max min argmax argmin prod any all cumsum cumprod nansum
    count_nonzero cummax cummin
    """
        ),
        Sweep(1),
    ),
    "norm": Sweep(1),
    "linalg_vector_norm": Sweep(1),
    "logsumexp": Sweep(4, 2),
    # Sum and sum of squares.
    "var": Sweep(2),
    "std": Sweep(2),
    "var_mean": Sweep(2),
    "std_mean": Sweep(2),
    # Sum and sum of squares; then scale and shift as one multiply-add.
    "native_batch_norm": Sweep(3, 2),
    "_native_batch_norm_legit": Sweep(3, 2),
    "_native_batch_norm_legit_no_training": Sweep(1),
    "_batch_norm_with_update": Sweep(3, 2),
    "native_layer_norm": Sweep(3, 2),
    "native_group_norm": Sweep(3, 2),
    "_fused_rms_norm": Sweep(2, 2),
    # Normalise again, two sums (of the gradient, and of it times the normalised input), then
    # two multiply-adds; both the gradient and the input are swept twice.
    "native_batch_norm_backward": Sweep(5, 2),
    "batch_norm_backward": Sweep(5, 2),
    "native_layer_norm_backward": Sweep(6, 2),
    "native_group_norm_backward": Sweep(6, 2),
    "_fused_rms_norm_backward": Sweep(5, 2),
    # Square and sum per row, square root, scale by the quotient.
    "_weight_norm_interface": Sweep(2, 2),
    "_weight_norm_interface_backward": Sweep(4, 2),
    # Maximum, subtract, exponential, sum, scale; the row is read for the maximum and again.
    "_softmax": Sweep(5, 2),
    "_safe_softmax": Sweep(6, 2),
    "_log_softmax": Sweep(5, 2),
    # Sum of products, then subtract and multiply.
    "_softmax_backward_data": Sweep(3, 2),
    "_log_softmax_backward_data": Sweep(4, 2),
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
