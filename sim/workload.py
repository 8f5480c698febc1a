"""The workload of one training step: matrix products and vector ops in the order PyTorch runs them.

A workload is what a trace becomes once tensors, autograd and modules are forgotten and only
arithmetic, operands and dependencies are left. It knows nothing of any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from weft.sim.pattern import DENSE, Pattern

__all__ = [
    "Convolution",
    "MaskWork",
    "Operand",
    "Product",
    "Role",
    "Scan",
    "Stage",
    "Uncosted",
    "UpdateOp",
    "VectorOp",
    "Workload",
]


class Stage(StrEnum):
    """When in the step an item runs."""

    FF = "ff"
    BP = "bp"
    WU = "wu"
    OPTIMIZER = "optimizer"


class Role(StrEnum):
    """What an operand of a product is."""

    ACTIVATION = "activation"
    WEIGHT = "weight"
    GRADIENT = "gradient"


@dataclass(frozen=True)
class Operand:
    """One operand of a product as it lies in memory.

    ``elements`` counts distinct stored elements over the whole batch of products: the input of a
    convolution counts each pixel once however large the kernel. ``tensor`` identifies the tensor
    in the trace, if there is one; ``parameter`` names the parameter behind a weight.
    """

    role: Role
    elements: int
    tensor: int | None = None
    parameter: str = ""


@dataclass(frozen=True)
class Convolution:
    """Geometry of the convolution behind a product, always that of its forward pass.

    All spatial tuples are (height, width); 1-d convolutions have height 1 (3-d ones fold depth
    into height). ``in_channels`` and ``out_channels`` are per group; the product's ``batch`` is
    the number of groups. ``transposed`` swaps the roles of input and output grids.
    """

    images: int
    in_channels: int
    out_channels: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    transposed: bool = False


@dataclass(frozen=True)
class Product:
    """``batch`` independent products Y[M,N] = X[M,K] W[K,N]; K is always the reduction.

    FF: X activations, W weights. BP: X output gradients, W transposed weights. WU: X transposed
    activations, W output gradients. ``m * k * n * batch`` multiply-accumulates are what
    ``torch.utils.flop_counter`` counts (FLOP / 2). For the input gradient of a strided
    convolution k is nominal: in_channel products as PyTorch counts them.

    ``pattern`` holds for the operand that ``sparse_operand`` names ("left", "right" or ""),
    in groups along K. ``inputs`` are the positions, in the workload, of the items it waits for.
    """

    name: str
    stage: Stage
    op: str
    m: int
    k: int
    n: int
    batch: int
    left: Operand
    right: Operand
    output: Operand
    inputs: tuple[int, ...] = ()
    convolution: Convolution | None = None
    pattern: Pattern = DENSE
    sparse_operand: str = ""

    @property
    def macs_dense(self) -> int:
        return self.m * self.k * self.n * self.batch

    @property
    def reduction_channels(self) -> int:
        """Elements of the reduction among which N:M groups are formed: k, per kernel tap."""
        if self.convolution is None or self.stage is Stage.WU:
            return self.k
        if self.convolution.transposed and self.stage is Stage.FF:
            return self.k  # its taps are among what it makes
        return self.k // (self.convolution.kernel[0] * self.convolution.kernel[1])

    @property
    def macs_done(self) -> int:
        """Multiply-accumulates left after skipping zeros, padding of the last group included."""
        channels = self.reduction_channels
        kept = self.pattern.kept(channels) * (self.k // channels)
        return self.m * kept * self.n * self.batch

    def with_sparsity(self, operand: str, pattern: Pattern) -> Product:
        """The same product with ``operand`` ("left" or "right") N:M sparse along K."""
        return replace(self, pattern=pattern, sparse_operand="" if pattern.is_dense else operand)


@dataclass(frozen=True)
class Scan:
    """An op at places that the data decide, on a machine that knows its addresses before it runs.

    Such a machine goes through all places and picks; the numbers are those of ``VectorOp``.
    """

    elements: int
    passes: int
    reads: int
    writes: int


@dataclass(frozen=True)
class VectorOp:
    """An op on the vector unit: element-wise, reduction, normalisation, gather.

    ``elements`` is the size of its iteration space; ``passes`` how many lane operations each
    element needs; ``reads`` and ``writes`` the distinct elements moved from and to memory when
    nothing is fused. ``elementwise`` ops can be fused behind the item that makes their first
    input, which then is not read again. An op on ``rows`` is what the lane ``programs`` do, one
    after the other (``weft.sim.lanes.programs``), the first with ``constants``; of ``channels`` a
    row's elements lie apart. ``scan`` is how the lanes do it where that is another way than that of
    a GPU. What is ``unbuilt`` no lane program does: a machine of lanes cannot run it.
    """

    name: str
    stage: Stage
    op: str
    elements: int
    reads: int
    writes: int
    passes: int = 1
    element_bytes: int = 2
    elementwise: bool = False
    inputs: tuple[int, ...] = ()
    rows: int = 0
    channels: bool = False
    programs: tuple[str, ...] = ()
    constants: tuple[float, ...] = ()
    scan: Scan | None = None
    unbuilt: bool = False


@dataclass(frozen=True)
class UpdateOp:
    """The optimizer's step for one parameter, with the layouts of it to pre-generate.

    ``optimizer`` is "sgd", "sgd-momentum", "adam" or "adamw"; ``state`` counts the FP32 state
    tensors beside the master weight. ``inputs`` is the item that makes the gradient.
    """

    name: str
    parameter: str
    elements: int
    optimizer: str = "sgd-momentum"
    state: int = 1
    inputs: tuple[int, ...] = ()
    stage: Stage = Stage.OPTIMIZER


@dataclass(frozen=True)
class MaskWork:
    """One run of SORE: choose N of every M of ``elements``, write them compressed.

    ``axis`` is "k" (reduction of FF) or "o" (reduction of BP); ``source`` "weight" or
    "gradient"; ``every`` the steps between two refreshes. ``inputs`` is the item that makes the
    dense tensor; ``parameter`` names it when it is a weight.
    """

    name: str
    parameter: str
    elements: int
    pattern: Pattern
    axis: str
    source: str
    every: int = 1
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Uncosted:
    """An op of the trace that moves data or computes, and that no model prices yet."""

    name: str
    op: str
    stage: Stage
    elements: int
    count: int = 1


@dataclass(frozen=True)
class Workload:
    """One training step. ``items`` are in execution order; dependencies point backwards."""

    model: str
    batch: int
    items: tuple[Product | VectorOp | UpdateOp | MaskWork, ...]
    uncosted: tuple[Uncosted, ...] = ()
    parameters: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def products(self) -> tuple[Product, ...]:
        return tuple(item for item in self.items if isinstance(item, Product))

    @property
    def macs_dense(self) -> int:
        return sum(product.macs_dense for product in self.products)

    @property
    def macs_done(self) -> int:
        return sum(product.macs_done for product in self.products)
