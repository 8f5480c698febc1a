"""Random products and machines for the mapper's tests."""

from __future__ import annotations

from hypothesis import strategies as st

from weft.sim.machine import Array, Buffers, Machine, Memory, Sore, Wuve
from weft.sim.pattern import DENSE, Pattern
from weft.sim.workload import Convolution, Operand, Product, Role, Stage

SMALL = Machine(
    "small",
    "",
    "fpga-vcu1525",
    2e8,
    Array(4, 4, 4, 2, 4),
    Buffers(16384, 16384, 32768, 4096, 4096, 2),
    Memory(32, 16, 40, 20),
    Sore(4, 4),
    Wuve(8, 16, 12),
)

PATTERNS = st.sampled_from([DENSE, Pattern(1, 4), Pattern(2, 4), Pattern(2, 8), Pattern(4, 16)])


def product(
    stage: Stage,
    m: int,
    k: int,
    n: int,
    batch: int = 1,
    convolution: Convolution | None = None,
) -> Product:
    """A product with plain operands and the roles of its stage."""
    left, right, output = {
        Stage.FF: (Role.ACTIVATION, Role.WEIGHT, Role.ACTIVATION),
        Stage.BP: (Role.GRADIENT, Role.WEIGHT, Role.GRADIENT),
        Stage.WU: (Role.ACTIVATION, Role.GRADIENT, Role.WEIGHT),
        Stage.OPTIMIZER: (Role.ACTIVATION, Role.ACTIVATION, Role.ACTIVATION),
    }[stage]
    return Product(
        "layer",
        stage,
        "mm",
        m,
        k,
        n,
        batch,
        Operand(left, batch * m * k),
        Operand(right, batch * k * n, parameter="layer.weight"),
        Operand(output, batch * m * n),
        convolution=convolution,
    )


@st.composite
def matrices(draw: st.DrawFn) -> Product:
    """Matrix products, sparse on the right where the pattern says so."""
    found = product(
        draw(st.sampled_from([Stage.FF, Stage.BP, Stage.WU])),
        draw(st.integers(1, 150)),
        draw(st.integers(1, 150)),
        draw(st.integers(1, 150)),
        draw(st.sampled_from([1, 1, 2, 6])),
    )
    pattern = draw(PATTERNS)
    return found.with_sparsity(draw(st.sampled_from(["left", "right"])), pattern)


@st.composite
def convolutions(draw: st.DrawFn) -> Product:
    """The three products of a convolution whose stride divides its input."""
    stride = draw(st.sampled_from([1, 1, 2]))
    size = stride * draw(st.integers(2, 6))
    kernel = draw(st.sampled_from([1, 3]))
    channels, filters = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    images, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 3]))
    out = size // stride
    geometry = Convolution(
        images,
        channels,
        filters,
        (size, size),
        (out, out),
        (kernel, kernel),
        (stride, stride),
        (kernel // 2, kernel // 2),
    )
    pixels, taps = images * out * out, kernel * kernel
    stage = draw(st.sampled_from([Stage.FF, Stage.BP, Stage.WU]))
    sizes = {
        Stage.FF: (pixels, channels * taps, filters),
        Stage.BP: (pixels, filters * taps, channels),
        Stage.WU: (channels * taps, pixels, filters),
    }[stage]
    found = product(stage, *sizes, batch=groups, convolution=geometry)
    return found.with_sparsity("right", draw(PATTERNS))
