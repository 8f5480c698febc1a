"""How a training step runs on a GPU, as far as it is not the model's own doing."""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.gpu.prediction.attention_rates import check_kernel

__all__ = ["CHECKPOINTS", "GpuSettings"]

CHECKPOINTS = ("none", "selective", "selective-op", "full")
"""What the backward pass computes again: nothing; attention's core (Korthikanti et al.,
arXiv:2205.05198); every second product and all that is element-wise (torchtitan's default, which
keeps attention's output); every block."""


@dataclass(frozen=True)
class GpuSettings:
    """How a step runs. ``fusion``: "eager" or "compile". ``dtype`` is that of the products, "auto"
    bf16 where the GPU has it and else fp16.

    ``sustained``: under the power cap, as training runs. ``master_weights``: weights are kept in
    FP32 and cast once per step, as automatic mixed precision does. ``fused_optimizer``: one sweep
    per parameter. ``host_us`` is the least time between two launches, 0 where the host runs
    ahead. ``attention`` is a kernel of ``attention_rates.KERNELS``, ``checkpoint`` one of
    ``CHECKPOINTS``. ``accumulate`` steps share one update, one making of masks and, where
    replicated, one sum of gradients. ``gradient_bytes`` each travel between GPUs, 0: 4 beside
    FP32 master weights, else those of the products' type. ``layout`` "nchw": convolutions on
    tensor cores turn their operands around. ``scaling`` of 8-bit products is "dynamic" (torchao) or
    "delayed" (Transformer Engine).
    """

    fusion: str = "eager"
    dtype: str = "auto"
    sustained: bool = True
    master_weights: bool = True
    fused_optimizer: bool = False
    host_us: float = 0.0
    attention: str = "auto"
    checkpoint: str = "none"
    accumulate: int = 1
    gradient_bytes: float = 0.0
    layout: str = "nhwc"
    scaling: str = "dynamic"

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate is {self.accumulate}; it must be at least 1")
        check_kernel(self.attention)
        for name, allowed in (
            ("checkpoint", CHECKPOINTS),
            ("layout", ("nhwc", "nchw")),
            ("scaling", ("dynamic", "delayed")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
