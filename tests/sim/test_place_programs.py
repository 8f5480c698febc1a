"""Lane programs by places on the reference against torch: lookups, running sums, sorting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.sim.test_vector_programs import (
    LANES,
    MACHINE,
    Halves,
    apart,
    close,
    halves,
    of_apart,
    padded,
    results_apart,
    rows_of,
    run,
    work_of,
)
from weft.sim.lanes import Over
from weft.sim.lanes.programs.places import SPLIT
from weft.sim.program import Vector, Window
from weft.sim.program.vector_work import vector_work

SLOTS = MACHINE.wuve.slots
STRIP = LANES * SLOTS


def wide(x: NDArray[np.float16]) -> torch.Tensor:
    return torch.tensor(x.astype(np.float64))


def with_ties(seed: int, rows: int, length: int) -> Halves:
    return np.round(rows_of(seed, rows, length))


def in_windows(
    name: str, rows: int, length: int, head: int = 0, constants: tuple[float, ...] = ()
) -> Vector:
    """Rows apart, of ``length`` and a head beyond; results follow each other."""
    strips = -(-rows // STRIP)
    window = Window(strips, SLOTS, length, (length + head) * SLOTS, 1, SLOTS)
    return vector_work(
        name, rows * length, MACHINE.wuve, constants, over=Over.APART, rows=rows, window=window
    )


def test_running_sums_products_and_extremes() -> None:
    rows, length = 70, 9
    x = with_ties(1, rows, length)
    y = rows_of(2, rows, length, 0.5, 1.5)
    wants = {
        "cumsum": wide(x).cumsum(1),
        "cumprod": wide(y).cumprod(1),
        "cummax": wide(x).cummax(1).values,
        "cummin": wide(x).cummin(1).values,
        "cummax_places": wide(x).cummax(1).indices.double(),
        "cummin_places": wide(x).cummin(1).indices.double(),
    }
    for name, want in wants.items():
        data = y if name == "cumprod" else x
        made, _ = run(work_of(name, x.size, (), Over.APART, rows), [apart(data)])
        close(of_apart(made, rows, length).reshape(-1), want)


@pytest.mark.parametrize(("rows", "length"), [(5, 40), (70, 7), (3, 333)])
def test_the_place_of_the_largest(rows: int, length: int) -> None:
    x = with_ties(3, rows, length)
    x[1] = -np.inf
    for name, want in (("argmax", wide(x).argmax(1)), ("argmin", wide(x).argmin(1))):
        made, _ = run(work_of(name, x.size, (), Over.APART, rows), [apart(x)])
        close(results_apart(made, rows, length), want.double())
        _, words = run(work_of(name, x.size, (), Over.ALL, rows), [padded(x)])
        assert np.array_equal(words.reshape(-1, LANES)[:rows, 0], want.double().numpy())


@pytest.mark.parametrize("name", ["largest", "smallest"])
def test_the_largest_ones_in_order(name: str) -> None:
    rows, length, count = 70, 8, 3
    x = with_ties(4, rows, length)
    made, _ = run(in_windows(name, rows, length, constants=(float(count),)), [apart(x)])
    strips = -(-rows // STRIP)
    lines = made[: strips * 2 * count * STRIP].reshape(strips, count, 2, STRIP)
    values, places = (lines[:, :, i].swapaxes(1, 2).reshape(-1, count)[:rows] for i in (0, 1))
    sign = 1 if name == "largest" else -1
    close(values.copy().reshape(-1), wide(x).topk(count, 1, largest=sign > 0).values)
    order = np.argsort(-sign * x.astype(np.float64), axis=1, kind="stable")[:, :count]
    assert np.array_equal(places, order)


def heads(places: NDArray[np.int64], numbers: Halves) -> Halves:
    """A place in two parts and a number, for each row."""
    return np.stack([places // SPLIT, places % SPLIT, numbers], axis=1).astype(np.float16)


def word_heads(places: NDArray[np.int64], numbers: Halves, words: int) -> NDArray[np.float32]:
    """The same as words of a strip for each row, alike in all lanes."""
    lines = np.stack([places, numbers][:words], axis=1).astype(np.float32)
    return np.repeat(lines[:, :, None], LANES, axis=2)


CASES = [(70, 9), (3, 100), (2, 2100)]


@pytest.mark.parametrize(("rows", "length"), CASES)
def test_lookups_by_places_worked_out_in_the_step(rows: int, length: int) -> None:
    x = rows_of(5, rows, length)
    places = np.random.default_rng(6).integers(0, length, rows)
    places[0] = length - 1
    want = wide(x).gather(1, torch.tensor(places)[:, None])[:, 0]
    image = apart(np.concatenate([x, heads(places, halves(7, rows))], axis=1))
    work = in_windows("lookup", rows, length, 3, (float(length * SLOTS),))
    if image.nbytes <= MACHINE.buffers.vector_bytes:
        made, _ = run(work, [image])
        close(made[:rows], want, 0)
    work = work_of("lookup", x.size, (), Over.ALL, rows)
    _, words = run(work, [padded(x)], word_heads(places, halves(7, rows), 1))
    close(words.reshape(-1, LANES)[:rows, 0].astype(np.float16), want, 0)


@pytest.mark.parametrize(("rows", "length"), CASES)
def test_writing_at_places_worked_out_in_the_step(rows: int, length: int) -> None:
    x, numbers = rows_of(8, rows, length), halves(9, rows)
    places = np.random.default_rng(10).integers(0, length, rows)
    index, source = torch.tensor(places)[:, None], wide(numbers)[:, None]
    wants = {
        "one_hot": torch.zeros(rows, length).double().scatter(1, index, source),
        "scatter": wide(x).scatter(1, index, source),
        "scatter_add": wide(x).scatter_add(1, index, source),
    }
    image = apart(np.concatenate([x, heads(places, numbers)], axis=1))
    for name, want in wants.items():
        work = in_windows(name, rows, length, 3, (float(length * SLOTS),))
        if image.nbytes <= MACHINE.buffers.vector_bytes:
            made, _ = run(work, [image])
            close(of_apart(made, rows, length).reshape(-1), want)
        work = work_of(name, x.size, (), Over.ALL, rows)
        made, _ = run(work, [padded(x)], word_heads(places, numbers, 2))
        flat = made[: rows * -(-length // LANES) * LANES].reshape(rows, -1)[:, :length]
        close(flat.reshape(-1), want)


def test_the_loss_by_labels_and_its_gradient() -> None:
    """nll_loss and its gradient, the label -100 ignored."""
    rows, classes = 70, 13
    log_chances = torch.log_softmax(wide(rows_of(11, rows, classes)), 1).numpy().astype(np.float16)
    labels = np.random.default_rng(12).integers(0, classes, rows)
    labels[3] = -100
    scores = wide(log_chances).requires_grad_()
    loss = torch.nn.functional.nll_loss(scores, torch.tensor(labels), reduction="none")
    loss.sum().backward()
    numbers = np.full(rows, -1, np.float16)
    asked = np.stack([0 * labels, labels, numbers], axis=1).astype(np.float16)
    image = apart(np.concatenate([log_chances, asked], axis=1))
    constants = (float(classes * SLOTS),)
    made, _ = run(in_windows("lookup", rows, classes, 3, constants), [image])
    close(-made[:rows], loss.detach())
    made, _ = run(in_windows("one_hot", rows, classes, 3, constants), [image])
    assert scores.grad is not None
    close(of_apart(made, rows, classes).reshape(-1), scores.grad)


def compared(name: str, operands: list[Halves], results: int) -> list[Halves]:
    """What a program of windows of one round makes of whole rounds, result by result."""
    rounds = operands[0].size // LANES
    window = Window(rounds, 1, 1, 1, 1, 1)
    work = vector_work(name, operands[0].size, MACHINE.wuve, window=window)
    made, _ = run(work, operands)
    lines = made[: rounds * results * LANES].reshape(rounds, results, LANES)
    return [lines[:, place].reshape(-1).copy() for place in range(results)]


def merge_exchange(count: int) -> list[list[int]]:
    """Pairs' first elements, stage by stage (Batcher 1968, odd-even), of a power of two."""
    stages: list[list[int]] = []
    run_length = 1
    while run_length < count:
        apart_by = run_length
        while apart_by:
            first = apart_by % run_length
            stages.append(
                [
                    start + i
                    for start in range(first, count - apart_by, 2 * apart_by)
                    for i in range(apart_by)
                    if (start + i) // (2 * run_length) == (start + i + apart_by) // (2 * run_length)
                ]
                + [apart_by]
            )
            apart_by //= 2
        run_length *= 2
    return stages


@settings(max_examples=10, deadline=None)
@given(levels=st.integers(1, 6), seed=st.integers(0, 1000))
def test_a_network_of_comparators_sorts_and_takes_places_along(levels: int, seed: int) -> None:
    count = 2**levels
    x, places = np.round(halves(seed, count)), np.arange(count, dtype=np.float16)
    before = x.copy()
    stages = merge_exchange(count)
    assert len(stages) == levels * (levels + 1) // 2
    for *firsts, apart_by in stages:
        low = np.array(firsts)
        high = low + apart_by
        assert low.size <= count // 2
        room = -(-low.size // LANES) * LANES

        def filled(values: Halves, room: int = room) -> Halves:
            return np.pad(values, (0, room - values.size))

        pair = [filled(x[low]), filled(x[high])]
        lower, upper, flags = compared("sort_step", pair, 3)
        moved = compared("sort_move", [filled(places[low]), filled(places[high]), flags], 2)
        for target, (a, b) in ((x, (lower, upper)), (places, moved)):
            target[low], target[high] = a[: low.size], b[: low.size]
    assert np.array_equal(x, np.sort(before))
    assert np.array_equal(before[places.astype(np.int64)], x)


def test_complex_numbers() -> None:
    a, b, c, d = (halves(20 + i, 4 * LANES, -3, 3) for i in range(4))
    true = torch.complex(wide(a), wide(b)) * torch.complex(wide(c), wide(d))
    real, imaginary = compared("complex_product", [a, b, c, d], 2)
    close(real, true.real, 2.0**-18)
    close(imaginary, true.imag, 2.0**-18)
    true = torch.complex(wide(a), wide(b)) / torch.complex(wide(c), wide(d))
    real, imaginary = compared("complex_quotient", [a, b, c, d], 2)
    close(real, true.real, 2.0**-15)
    close(imaginary, true.imag, 2.0**-15)
    true = torch.complex(wide(a), wide(b)).sgn()
    real, imaginary = compared("complex_sign", [a, b], 2)
    close(real, true.real)
    close(imaginary, true.imag)
    turned = torch.polar(wide(np.abs(a)), wide(b))
    real, imaginary = compared("polar", [np.abs(a), b], 2)
    close(real, turned.real, 2.0**-15)
    close(imaginary, turned.imag, 2.0**-15)


def test_dropout_leaves_what_it_kept() -> None:
    x = halves(30, 1024)
    mask, made = compared("native_dropout", [x], 2)
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert abs(float(np.mean(mask.astype(float))) - 0.9) < 0.04
    close(made, wide(x) * wide(mask) / 0.9)


def test_gradients_of_input_and_slope() -> None:
    x, slope, g = (halves(31 + i, 256) for i in range(3))
    operands = [wide(v).requires_grad_() for v in (x, slope)]
    torch.where(operands[0] > 0, operands[0], operands[0] * operands[1]).backward(wide(g))
    made = compared("_prelu_kernel_backward", [x, slope, g], 2)
    for got, operand in zip(made, operands, strict=True):
        assert operand.grad is not None
        close(got, operand.grad)
