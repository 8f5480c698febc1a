"""Geometry of convolutions against the sets of pixels and bits that they touch, enumerated.

The sets come from the definition alone: output row o takes input row o * stride + tap * dilation -
padding for every tap. Nothing here knows how the scheduler writes a tile down.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.mapper.products import PATTERNS, product
from weft.mapper.scheduling.geometry import BLOCK, Region, problems
from weft.sim.pattern import Pattern
from weft.sim.workload import Convolution, Product, Stage


@dataclass(frozen=True)
class Line:
    """One spatial axis of a convolution."""

    size: int
    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def outputs(self) -> int:
        reach = self.dilation * (self.kernel - 1)
        return (self.size + 2 * self.padding - reach - 1) // self.stride + 1

    def reads(self, output: int) -> set[int]:
        """Inputs of an output, those in the border too."""
        return {
            output * self.stride + tap * self.dilation - self.padding for tap in range(self.kernel)
        }

    def reached_by(self, inputs: range) -> set[int]:
        """Outputs that read any of these inputs."""
        return {o for o in range(self.outputs) if self.reads(o) & set(inputs)}


@st.composite
def lines(draw: st.DrawFn) -> Line:
    line = Line(
        draw(st.integers(1, 14)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 3)),
        draw(st.integers(0, 3)),
        draw(st.integers(1, 3)),
    )
    assume(line.padding <= line.dilation * (line.kernel - 1))
    assume(line.size + 2 * line.padding > line.dilation * (line.kernel - 1))
    return line


def convolution_of(stage: Stage, rows: Line, columns: Line, images: int, groups: int) -> Product:
    channels, filters = 5, 7
    geometry = Convolution(
        images,
        channels,
        filters,
        (rows.size, columns.size),
        (rows.outputs, columns.outputs),
        (rows.kernel, columns.kernel),
        (rows.stride, columns.stride),
        (rows.padding, columns.padding),
        (rows.dilation, columns.dilation),
    )
    taps = rows.kernel * columns.kernel
    sources, targets = rows.size * columns.size, rows.outputs * columns.outputs
    m, k, n = {
        Stage.FF: (images * targets, channels * taps, filters),
        Stage.BP: (images * sources, filters * taps, channels),
        Stage.WU: (channels * taps, images * targets, filters),
    }[stage]
    return product(stage, m, k, n, groups, geometry)


def hull(touched: set[int], size: int) -> int:
    """Rows from the first to the last that lie in the tensor: what one load brings."""
    inside = [row for row in touched if 0 <= row < size]
    return max(inside) - min(inside) + 1 if inside else 0


@given(lines(), lines(), st.sampled_from([Stage.FF, Stage.WU]), st.integers(1, 3))
def test_a_window_holds_what_its_outputs_read(
    rows: Line, columns: Line, stage: Stage, images: int
) -> None:
    """Never less than any tile reads; no more where a tile reads no border."""
    for problem in problems(convolution_of(stage, rows, columns, images, 2)):
        pixels = problem.m if stage is Stage.FF else problem.k
        height = pixels.unit // columns.outputs
        assert height * columns.outputs == pixels.unit
        assert pixels.elements == images * rows.outputs * columns.outputs
        window, rest = divmod(problem.left.pixels_per_unit, columns.size)
        assert rest == 0
        tiles = [range(first, first + height) for first in range(0, rows.outputs, height)]
        read = [set[int]().union(*(rows.reads(output) for output in tile)) for tile in tiles]
        assert window >= max(hull(touched, rows.size) for touched in read)
        if unclipped := [t for t in read if min(t) >= 0 and max(t) < rows.size]:
            assert window == max(hull(touched, rows.size) for touched in unclipped)
        assert window <= rows.size


@given(lines(), lines(), st.integers(1, 3))
def test_the_phases_of_an_input_gradient_are_its_taps(
    rows: Line, columns: Line, images: int
) -> None:
    """Each phase has the taps that reach it, and together they have every tap once."""
    taps = sorted(
        len(reaching(rows, row)) * len(reaching(columns, column))
        for row in range(rows.stride)
        for column in range(columns.stride)
        if reaching(rows, row) and reaching(columns, column)
    )
    for problem in problems(convolution_of(Stage.BP, rows, columns, images, 1)):
        assert sorted(problem.phases) == taps
        assert sum(problem.phases) == rows.kernel * columns.kernel


def reaching(line: Line, place: int) -> list[int]:
    """Taps by which some output, were the tensor without ends, reads input ``place``."""
    return [
        tap
        for tap in range(line.kernel)
        if any(
            output * line.stride + tap * line.dilation - line.padding == place
            for output in range(-40, 41)
        )
    ]


@given(lines(), lines())
def test_an_input_gradients_tile_holds_what_reaches_it(rows: Line, columns: Line) -> None:
    """Where the grids divide: a tile owns as many rows as it is high, times the stride."""
    assume(rows.size == rows.outputs * rows.stride)
    for problem in problems(convolution_of(Stage.BP, rows, columns, 1, 1)):
        height = problem.m.unit // columns.outputs
        window, rest = divmod(problem.left.pixels_per_unit, columns.outputs)
        own = height * rows.stride
        assert rest == 0
        assert problem.output.pixels_per_unit == own * columns.size
        for first in range(0, rows.size, own):
            reached = rows.reached_by(range(first, first + own))
            assert window >= hull(reached, rows.outputs)


@given(lines(), lines())
def test_the_tiles_of_an_input_gradient_cover_it(rows: Line, columns: Line) -> None:
    """Every row is some tile's, ragged ones too, and no tile has a row more than it needs."""
    for problem in problems(convolution_of(Stage.BP, rows, columns, 1, 1)):
        own, rest = divmod(problem.output.pixels_per_unit, columns.size)
        assert rest == 0
        assert own * problem.m.size >= rows.size > (own - 1) * problem.m.size


@given(
    st.integers(1, 6),
    st.integers(1, 70),
    st.integers(1, 4),
    st.sampled_from(["channels", "pixels", "units"]),
    PATTERNS,
)
def test_a_run_holds_every_bit_of_its_tile(
    pixels: int, channels: int, per_unit: int, compressed: str, pattern: Pattern
) -> None:
    """Values and indices of blocks and of the partial block behind them, counted one by one."""
    region = Region("m", "k", per_unit, pattern, compressed)
    held = kept(pattern, channels) if compressed == "channels" else channels
    rows = pixels * per_unit
    if compressed == "units":
        rows = kept(pattern, pixels) * per_unit
    elif compressed == "pixels":
        rows = kept(pattern, pixels * per_unit)
    bits = 16 + (0 if pattern.is_dense else (pattern.m - 1).bit_length())
    blocks: dict[int, int] = {}
    for _ in range(rows):
        for channel in range(held):
            blocks[channel // BLOCK] = blocks.get(channel // BLOCK, 0) + bits
    wanted = sorted(-(-count // 8) for count in blocks.values())
    found = [size for count, size in region.runs(1, pixels, channels, 0) for _ in range(count)]
    assert sorted(found) == wanted


def kept(pattern: Pattern, count: int) -> int:
    """Elements that remain of ``count``, group by group, the last one padded."""
    if pattern.is_dense:
        return count
    return sum(pattern.n for _ in range(0, count, pattern.m))
