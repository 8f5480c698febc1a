"""Convolutions as implicit matrix products, and what of a step runs 2:4 on a GPU."""

from __future__ import annotations

from math import ceil

from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.pattern import Pattern
from weft.sim.workload import Product

__all__ = ["direct_us", "implicit_sizes", "is_pointwise", "why_dense"]

CHANNEL_GROUP = 8
"""Tensor cores read channels in groups of 16 bytes: 8 half-precision numbers (NVIDIA cuDNN
developer guide, tensor core operations)."""

DIRECT_SHARE = 0.3
"""Share of the CUDA cores' peak that direct (depthwise, grouped) kernels are assumed to reach."""


def is_pointwise(product: Product) -> bool:
    """Whether it is a plain matrix product in memory: a linear layer or a 1 x 1 convolution."""
    shape = product.convolution
    return shape is None or (
        shape.kernel == (1, 1) and shape.stride == (1, 1) and product.batch == 1
    )


def implicit_sizes(product: Product) -> tuple[int, int, int]:
    """M, N, K that the tensor cores run: reductions over few channels are padded to full groups."""
    shape = product.convolution
    if shape is None:
        return product.m, product.n, product.k
    taps = shape.kernel[0] * shape.kernel[1]
    k = product.k
    channels = k // taps
    if k % taps == 0 and channels % CHANNEL_GROUP:
        k = taps * CHANNEL_GROUP * ceil(channels / CHANNEL_GROUP)
    return product.m, product.n, k


def direct_us(product: Product, gpu: GpuMachine, launch_us: float, memory_bytes: float) -> float:
    """Time of a grouped convolution by a direct kernel on the CUDA cores, us."""
    rate = DIRECT_SHARE * gpu.fp32_flop_clk_sm * gpu.sms * gpu.clock_hz
    memory = memory_bytes / gpu.memory_bytes_s
    return launch_us + 1e6 * max(2.0 * product.macs_dense / rate, memory)


def why_dense(product: Product, gpu: GpuMachine) -> str:
    """Why a sparse product runs dense on this GPU; empty if it runs 2:4 or is dense anyway."""
    if product.pattern.is_dense or not product.sparse_operand:
        return ""
    if gpu.sparse_ratio == 1:
        return f"{product.pattern} runs dense: {gpu.name} has no sparse tensor cores"
    if product.pattern != Pattern(2, 4):
        return f"{product.pattern} runs dense: {gpu.name} has tensor cores for 2:4 only"
    if not is_pointwise(product):
        return "2:4 convolutions with kernels above 1x1 run dense: cuSPARSELt has products only"
    return ""
