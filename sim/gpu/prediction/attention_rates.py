"""What attention kernels reach: by implementation, generation, head size, length and direction.

A kernel reaches ``peak x length / (length + half)``: short rows leave SMs without work and cost a
prologue; under a causal mask the blocks on the diagonal are computed whole, which lengthens
``half``. Peaks and halves come from published kernel timings, never from training steps.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_KERNELS", "KERNELS", "AttentionRate", "attention_flop_s", "check_kernel"]

KERNELS = ("auto", "math", "flash1", "triton1", "sdpa", "flash2", "flash3", "cudnn")
"""Attention kernels by name; "math" keeps scores in memory, as PyTorch's math path does; "sdpa" is
FlashAttention-2 as PyTorch builds it."""

DEFAULT_KERNELS = {
    "volta": "flash1", "ampere": "flash2", "ada": "flash2", "hopper": "sdpa",
    "blackwell": "cudnn", "blackwell-geforce": "flash2",
}  # fmt: skip
"""What ``scaled_dot_product_attention`` runs: its flash backend is FlashAttention-2 (since
PyTorch 2.2); cuDNN comes first on Blackwell; Volta has a memory-efficient kernel of the first
kind only."""

CAUSAL_PEAK, CAUSAL_HALF = 0.91, 280.0
"""What a causal mask takes from the peak and adds to ``half``: FlashAttention-2 forward on H100,
head size 128, reaches 191, 260, 298, 319, 333, 335 TFLOP/s under the mask and 309, 350, 362, 368,
370, 370 without, at 512 to 16384 tokens (arXiv:2407.08608, figure 5)."""


@dataclass(frozen=True)
class AttentionRate:
    """Peaks (FLOP/s) and halves (tokens), forward then backward."""

    forward: float
    backward: float
    forward_half: float
    backward_half: float


_RATES: dict[tuple[str, str], dict[int, AttentionRate]] = {
    ("flash2", "hopper"): {
        64: AttentionRate(324e12, 294e12, 70, 245),
        128: AttentionRate(372e12, 326e12, 100, 260),
        256: AttentionRate(326e12, 300e12, 80, 260),
    },
    ("sdpa", "hopper"): {
        64: AttentionRate(0.8 * 324e12, 0.8 * 294e12, 70, 245),
        128: AttentionRate(0.8 * 372e12, 0.8 * 326e12, 30, 260),
        256: AttentionRate(0.8 * 326e12, 0.8 * 300e12, 80, 260),
    },
    ("flash3", "hopper"): {
        64: AttentionRate(505e12, 490e12, 200, 380),
        128: AttentionRate(655e12, 575e12, 180, 380),
        256: AttentionRate(760e12, 575e12, 250, 380),
    },
    ("cudnn", "hopper"): {
        64: AttentionRate(415e12, 445e12, 120, 320),
        128: AttentionRate(600e12, 530e12, 100, 350),
        256: AttentionRate(581e12, 530e12, 110, 350),
    },
    ("flash2", "ampere"): {
        64: AttentionRate(0.61 * 312e12, 0.56 * 312e12, 70, 245),
        128: AttentionRate(0.73 * 312e12, 0.63 * 312e12, 100, 260),
    },
    ("triton1", "ampere"): {
        64: AttentionRate(0.45 * 312e12, 0.28 * 312e12, 70, 245),
        128: AttentionRate(0.52 * 312e12, 0.315 * 312e12, 100, 260),
    },
    ("flash1", "ampere"): {
        64: AttentionRate(0.40 * 312e12, 0.30 * 312e12, 70, 245),
        128: AttentionRate(0.36 * 312e12, 0.30 * 312e12, 100, 260),
    },
}  # fmt: skip
"""Hopper: arXiv:2407.08608, figures 5 and 6 (head sizes 64, 128, 256; 512 to 16384 tokens; backward
at 256 assumed as at 128). A100, FlashAttention-2: arXiv:2307.08691, section 4.1, up to 73 % and
63 % of 312 TFLOP/s; head size 64 by its figures 5 and 6, about five sixths. The first version
reaches 30 to 50 % forward and 25 to 35 % backward (same, section 1); the Triton version, 1.3 to 1.5
times slower than FlashAttention-2 forward and about twice backward (same, section 4.1): their
middles. PyTorch's own build on H100: 287, 293, 298, 288, 304 TFLOP/s forward without a mask at 1024
to 16384 tokens, head size 128 (pytorch/benchmark pull request 2296), 0.8 of the authors' own; taken
so for the other sizes and backward."""

_AMPERE = {"sdpa": "flash2"}
_LIKE_AMPERE = {"ada", "blackwell-geforce", "hopper"}


def check_kernel(name: str) -> None:
    """Raises:
    ValueError: no attention kernel is called so.
    """
    if name not in KERNELS:
        raise ValueError(f"attention is {name!r}; it must be one of {', '.join(KERNELS)}")


def _table(kernel: str, architecture: str) -> tuple[dict[int, AttentionRate], float]:
    """Rates by head size, and what to multiply them with per share of the dense peak."""
    if (kernel, architecture) == ("sdpa", "ampere"):
        kernel = "flash2"
    if (kernel, architecture) in _RATES:
        return _RATES[kernel, architecture], 0.0
    if kernel in ("flash1", "triton1", "sdpa", "flash2") and architecture in _LIKE_AMPERE:
        return _RATES[_AMPERE.get(kernel, kernel), "ampere"], 312e12
    if kernel in ("flash3", "cudnn") and architecture.startswith("blackwell"):
        return _RATES["cudnn", "hopper"], 989.4e12
    if architecture == "volta":
        return _RATES["flash1", "ampere"], 312e12
    return _RATES["flash2", "ampere"], 312e12


_AMPERE_CODE_ON_HOPPER = 372.0 / (0.73 * 312.0)
"""FlashAttention-2 runs Ampere's instructions on Hopper: 372 against 228 TFLOP/s. Older kernels
are taken to gain as much."""


def attention_flop_s(
    kernel: str, architecture: str, peak_flop_s: float, *, size: int, length: float,
    backward: bool, causal: bool,
) -> float:  # fmt: skip
    """FLOP/s on the scores that are computed.

    ``peak_flop_s`` is the board's dense 16-bit peak: a board of the generation scales with it.
    """
    table, base = _table(kernel, architecture)
    rate = table[min(table, key=lambda known: (abs(known - size), known))]
    peak, half = (
        (rate.backward, rate.backward_half) if backward else (rate.forward, rate.forward_half)
    )
    if base and architecture == "hopper":
        peak *= _AMPERE_CODE_ON_HOPPER
        base = 0.0
    reference = base or {"hopper": 989.4e12}.get(architecture, 312e12)
    if causal:
        peak, half = peak * CAUSAL_PEAK, half + CAUSAL_HALF
    return peak * (peak_flop_s / reference) * length / (length + half)
