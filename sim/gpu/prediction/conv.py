"""Convolutions as implicit matrix products, and what of a step runs 2:4 on a GPU."""

from __future__ import annotations

from math import ceil

from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.gpu.prediction.vector import Stream
from weft.sim.pattern import Pattern
from weft.sim.workload import Product, Role, Stage

__all__ = [
    "direct_us",
    "implicit_sizes",
    "is_pointwise",
    "is_turned",
    "on_cuda_cores",
    "turned_stream",
    "why_dense",
]

CHANNEL_GROUP = 8
"""Tensor cores read channels in groups of 16 bytes: 8 half-precision numbers (NVIDIA cuDNN
developer guide, tensor core operations)."""

DIRECT_SHARE = 0.3
"""Share of the CUDA cores' peak that direct (depthwise, grouped) kernels are assumed to reach."""


DIRECT_TILE = 64
"""Output channels of a tile of such kernels (cuDNN 7: ``128x64`` and ``128x32`` sgemm kernels)."""


def is_pointwise(product: Product) -> bool:
    """Whether it is a plain matrix product in memory: a linear layer or a 1 x 1 convolution."""
    shape = product.convolution
    return shape is None or (
        shape.kernel == (1, 1) and shape.stride == (1, 1) and product.batch == 1
    )


CUDNN_7 = ("volta",)
"""Where convolutions are timed as cuDNN 7 runs them: channels that are no multiple of 8 stay off
the tensor cores (cuDNN 7 developer guide, tensor core operations), and the input gradient of a
strided 1x1 convolution multiplies the zeros between its pixels as well (larger kernels are cut by
phase; kernels that skip zeros in general came after: CUTLASS 2.8, strided dgrad)."""


def on_cuda_cores(product: Product, gpu: GpuMachine) -> bool:
    """Whether a convolution's channels keep it off the tensor cores."""
    shape = product.convolution
    if shape is None or gpu.architecture not in CUDNN_7:
        return False
    return bool(shape.in_channels % CHANNEL_GROUP or shape.out_channels % CHANNEL_GROUP)


def implicit_sizes(product: Product, gpu: GpuMachine) -> tuple[int, int, int]:
    """M, N, K that the tensor cores run: reductions over few channels are padded to full groups."""
    shape = product.convolution
    if shape is None:
        return product.m, product.n, product.k
    taps = shape.kernel[0] * shape.kernel[1]
    k = product.k
    if product.stage is Stage.BP and gpu.architecture in CUDNN_7 and taps == 1:
        k = max(k, shape.out_channels * taps)
    channels = k // taps
    if k % taps == 0 and channels % CHANNEL_GROUP:
        k = taps * CHANNEL_GROUP * ceil(channels / CHANNEL_GROUP)
    return product.m, product.n, k


def turned_stream(product: Product, element_bytes: float) -> Stream:
    """Turning images from NCHW to the NHWC of tensor-core kernels and back: each activation read
    and written once more (cuDNN's ``nchwToNhwc`` and ``nhwcToNchw`` kernels; NVIDIA, Deep Learning
    Performance, convolutional layers, tensor layouts). cuDNN 7 had kernels for NCHW as it is:
    DeepBench's V100 table leaves no time for turning."""
    ends = (product.left, product.right, product.output)
    images = [end.elements for end in ends if end.role is not Role.WEIGHT]
    return Stream(2.0 * element_bytes * sum(images), 0.0, float(len(images)))


def is_turned(product: Product, gpu: GpuMachine, layout: str, dtype: str) -> bool:
    """Whether a convolution's images must be turned for the tensor cores."""
    if product.convolution is None or layout != "nchw" or gpu.architecture in CUDNN_7:
        return False
    return dtype != "fp32-ieee"


def direct_us(product: Product, gpu: GpuMachine, launch_us: float, memory_bytes: float) -> float:
    """Time of a convolution on the CUDA cores, us; its output channels in full tiles."""
    rate = DIRECT_SHARE * gpu.fp32_flop_clk_sm * gpu.sms * gpu.clock_hz
    if product.batch == 1 and product.convolution:
        channels = product.convolution.out_channels
        rate *= channels / (DIRECT_TILE * ceil(channels / DIRECT_TILE))
    memory = memory_bytes / gpu.memory_bytes_s
    return launch_us + 1e6 * max(2.0 * product.macs_dense / rate, memory)


SPARSE_MULTIPLES = {"fp16": (16, 8), "bf16": (16, 8), "int8": (32, 16), "fp8": (32, 16)}
"""Of which number both sides of the 2:4 operand, and the third size, must be multiples, by type; no
other type has a kernel (shape constraints of torch.sparse.SparseSemiStructuredTensorCUSPARSELT)."""


def _not_taken(product: Product, dtype: str) -> str:
    """What of a product the library's 2:4 kernels do not take."""
    if dtype not in SPARSE_MULTIPLES:
        return f"2:4 products of {dtype} run dense: cuSPARSELt takes {', '.join(SPARSE_MULTIPLES)}"
    both, third = SPARSE_MULTIPLES[dtype]
    side = product.m if product.sparse_operand == "left" else product.n
    other = product.n if product.sparse_operand == "left" else product.m
    bad = [size for size in (product.k, side) if size % both]
    if bad:
        return f"sizes no multiple of {both}"
    return f"sizes no multiple of {third}" if other % third else ""


def why_dense(product: Product, gpu: GpuMachine, dtype: str) -> str:
    """Why a sparse product runs dense on this GPU; empty if it runs 2:4 or is dense anyway."""
    if product.pattern.is_dense or not product.sparse_operand:
        return ""
    if gpu.sparse_ratio == 1:
        return f"{product.pattern} runs dense: {gpu.name} has no sparse tensor cores"
    if product.pattern != Pattern(2, 4):
        return f"{product.pattern} runs dense: {gpu.name} has tensor cores for 2:4 only"
    if not is_pointwise(product):
        return "2:4 convolutions with kernels above 1x1 run dense: cuSPARSELt has products only"
    return _not_taken(product, dtype)
