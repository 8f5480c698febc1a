"""Kernels bound by memory: element-wise ops, normalisations, optimizers, making 2:4 operands.

Each is one stream over memory: the longer of its bytes at the bandwidth that the GPU reaches and
its lane operations on the CUDA cores, behind one launch.
"""

from __future__ import annotations

from dataclasses import dataclass

from weft.sim.gpu.prediction.constants import KernelConstants
from weft.sim.gpu.prediction.machine import GpuMachine
from weft.sim.workload import MaskWork, UpdateOp

__all__ = [
    "FOREACH_PASSES",
    "FUSED_ACCESSES",
    "MASK_CLOCKS",
    "ROW_KERNELS",
    "ROW_SHARE",
    "Stream",
    "mask_stream",
    "stream_us",
    "update_stream",
]

MASK_CLOCKS = 0.43
"""SM clocks per element to choose 2 of 4 and write one compressed layout.

torchao's kernel makes two layouts of one transposable choice. Its published points on A100 prune
the inputs of linear layers: 13008 x 1024 in 85 us, 13008 x 4096 in 301 us, 44160 x 1024 in 255 us
(pytorch/ao torchao/sparsity/training/README.md; 108 SMs at 1.41 GHz): 0.97, 0.86 and 0.86 clocks
an element. The middle one, half of it for each layout.
"""

ROW_KERNELS = frozenset(
    f"{name}{way}"
    for name in ("native_layer_norm", "native_group_norm", "_fused_rms_norm")
    for way in ("", "_backward")
)

ROW_SHARE = 0.76
"""Of a stream's bandwidth, what PyTorch's own norm kernels reach: on an A100 of 1555 GB/s 16384 x
1024 half-precision rows take 75 us forward and 176 us backward (NVIDIA/apex pull request 1037),
0.74 and 0.79 of what plain streams take for two and five accesses. Compiled ones stream."""

FUSED_ACCESSES = {"sgd": 3, "sgd-momentum": 5, "adam": 7, "adamw": 7}
"""FP32 accesses per parameter of a fused update: gradient read, weight and each state read and
written (PyTorch ``fused=True``)."""

FOREACH_PASSES = {"sgd": 3, "sgd-momentum": 11, "adam": 20, "adamw": 20}
"""FP32 accesses per parameter of PyTorch's default ``foreach`` update, one sweep per operator:
for AdamW weight decay 2, two moments 3 + 2 + 3, square root 2, division 2, addition 2, update 4
(torch/optim/adamw.py, ``_multi_tensor_adamw``; SGD likewise in torch/optim/sgd.py)."""


@dataclass(frozen=True)
class Stream:
    """A sweep over memory; ``launches`` kernels of it, at a ``share`` of a plain stream's rate."""

    memory_bytes: float
    lane_operations: float
    launches: float = 1.0
    share: float = 1.0

    def shared(self, steps: float) -> Stream:
        """One step's part of a sweep made once in ``steps``."""
        return Stream(
            self.memory_bytes / steps, self.lane_operations / steps, self.launches / steps,
            self.share,
        )  # fmt: skip


def stream_us(stream: Stream, gpu: GpuMachine, constants: KernelConstants) -> float:
    """Time of a sweep, us."""
    memory = stream.memory_bytes / (gpu.memory_bytes_s * constants.hbm_efficiency * stream.share)
    lanes = stream.lane_operations / (gpu.sms * gpu.clock_hz * gpu.fp32_flop_clk_sm / 2)
    return stream.launches * constants.launch_us + max(memory, lanes) * 1e6


def update_stream(update: UpdateOp, *, fused: bool) -> Stream:
    """The optimizer's step for one parameter, all in FP32.

    A launch covers many tensors (multi-tensor kernels of about a hundred), so a share of one.

    Raises:
        ValueError: an optimizer that the model does not know.
    """
    table = FUSED_ACCESSES if fused else FOREACH_PASSES
    if update.optimizer not in table:
        raise ValueError(f"optimizer {update.optimizer!r} is unknown; known: {', '.join(table)}")
    accesses = table[update.optimizer]
    moved = 4.0 * accesses * update.elements
    launches = (1.0 if fused else accesses / 3.0) / 100.0
    return Stream(moved, 2.0 * accesses * update.elements, launches)


def mask_stream(mask: MaskWork, gpu: GpuMachine, element_bytes: float) -> Stream:
    """Choosing N of M of a tensor and writing it compressed, in one layout."""
    kept = mask.pattern.density
    index = mask.pattern.index_bits / 8
    moved = mask.elements * (element_bytes + kept * (element_bytes + index))
    lanes = gpu.fp32_flop_clk_sm / 2
    return Stream(moved / mask.every, MASK_CLOCKS * lanes * mask.elements / mask.every)
