"""WUVE and SORE on ``sat_top``: torch's arithmetic to the bit, the engine's cycles."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from weft.rtl.cosimulation.cosim import compare
from weft.rtl.cosimulation.product import Case
from weft.rtl.cosimulation.simulate import IDEAL, Pauses, RtlRun, simulate
from weft.rtl.cosimulation.stream import Mask, image_of, mask_case, update_case, vector_case
from weft.sim.lanes.functions import Function, evaluate
from weft.sim.lanes.programs import PROGRAMS
from weft.sim.machine import Machine, load_machine
from weft.sim.pattern import Pattern
from weft.sim.program import Update
from weft.sim.program.vector_work import vector_work
from weft.sim.reference.update import adamw, adamw_constants

MACHINE = load_machine("sat-4x4")
CONSTANTS = (0.1, 0.9, 5e-4)
Floats = NDArray[np.float32]
Halves = NDArray[np.float16]


def floats(draw: np.random.Generator, size: int, wild: bool) -> Floats:
    if wild:
        return draw.integers(0, 1 << 32, size, dtype=np.uint32).view(np.float32)
    return draw.standard_normal(size).astype(np.float32)


def halves(draw: np.random.Generator, size: int, wild: bool) -> Halves:
    if wild:
        return draw.integers(0, 1 << 16, size, dtype=np.uint16).view(np.float16)
    return draw.standard_normal(size).astype(np.float16)


def run(machine: Machine, cases: list[Case], pauses: list[Pauses] | None = None) -> list[RtlRun]:
    """Run the cases; cycles and bits must be those of engine and reference."""
    pauses = pauses or [IDEAL] * len(cases)
    runs = simulate(machine, cases, pauses)
    for case, pause, found in zip(cases, pauses, runs, strict=True):
        result = compare(case, machine, pause, found, 0.0)
        assert result.agrees, (case.name, result.differences)
    return runs


def bits32(values: torch.Tensor) -> NDArray[np.uint32]:
    bits = values.numpy().view(np.uint32).copy()
    bits[np.isnan(values.numpy())] = 0x7FC00000
    return bits


def bits16(values: torch.Tensor) -> NDArray[np.uint16]:
    bits = values.numpy().view(np.uint16).copy()
    bits[np.isnan(values.numpy())] = 0x7E00
    return bits


def torch_step(
    weight: Floats, velocity: Floats, gradient: Halves, optimizer: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """SGD as PyTorch orders it, every operation rounded on its own."""
    rate, momentum, decay = (torch.tensor(c, dtype=torch.float32) for c in CONSTANTS)
    w, v = torch.from_numpy(weight), torch.from_numpy(velocity)
    step = torch.from_numpy(gradient).float() + decay * w
    if optimizer == "sgd-momentum":
        step = momentum * v + step
    return w - rate * step, step


UPDATES = [
    ("sgd-momentum", False, (Mask(Pattern(2, 8)),), 192),
    ("sgd-momentum", True, (), 240),
    ("sgd-momentum", False, (Mask(Pattern(2, 4)), Mask(Pattern(2, 4), across=16)), 64),
    ("sgd", False, (Mask(Pattern(1, 8)),), 128),
    ("sgd", True, (), 64),
]


def test_updates_are_torchs_to_the_bit() -> None:
    draw = np.random.default_rng(4)
    cases: list[Case] = []
    wanted: list[tuple[torch.Tensor, torch.Tensor]] = []
    for optimizer, wild, masks, chunk in UPDATES:
        size = 20 * chunk
        given = floats(draw, size, wild), floats(draw, size, wild), halves(draw, size, wild)
        work = Update(0, optimizer, CONSTANTS)
        cases.append(update_case(f"{optimizer} {wild}", MACHINE, *given, chunk, work, masks))
        wanted.append(torch_step(*given, optimizer))
    runs = run(MACHINE, cases, [IDEAL, Pauses(60, 60, 60, 60, 60), IDEAL, IDEAL, IDEAL])
    for (optimizer, *_), case, found, (weight, step) in zip(
        UPDATES, cases, runs, wanted, strict=True
    ):
        size = weight.numel()
        image = image_of(case, found.memory, "weight", 4 * size).view(np.uint32)
        assert (image == bits32(weight)).all()
        if optimizer == "sgd-momentum":
            image = image_of(case, found.memory, "velocity", 4 * size).view(np.uint32)
            assert (image == bits32(step)).all()
        image = image_of(case, found.memory, "half", 2 * size).view(np.uint16)
        assert (image == bits16(weight.half())).all()


def test_adamw_is_rounded_once_for_each_operation() -> None:
    draw = np.random.default_rng(8)
    size = 4 * 160
    cases: list[Case] = []
    wanted: list[tuple[torch.Tensor, ...]] = []
    for step, wild in ((1, False), (7, False), (1000, False), (3, True)):
        constants = adamw_constants(1e-3, 0.9, 0.999, 1e-8, 0.01, step)
        weight, first = floats(draw, size, wild), floats(draw, size, wild)
        second = np.abs(floats(draw, size, wild)) if not wild else floats(draw, size, wild)
        gradient = halves(draw, size, wild)
        work = Update(0, "adamw", constants)
        masks = (Mask(Pattern(2, 8)),) if step == 7 else ()
        chunk = 160 if not masks else 128
        given = weight[: 4 * chunk], first[: 4 * chunk], gradient[: 4 * chunk]
        cases.append(
            update_case(f"adamw {step}", MACHINE, *given, chunk, work, masks, second[: 4 * chunk])
        )
        wanted.append(torch_adamw(*given, second[: 4 * chunk], constants))
    pauses = [IDEAL, Pauses(60, 60, 60, 60, 60), IDEAL, IDEAL]
    for case, found, values in zip(cases, run(MACHINE, cases, pauses), wanted, strict=True):
        for name, value in zip(("weight", "velocity", "second"), values, strict=True):
            image = image_of(case, found.memory, name, 4 * value.numel()).view(np.uint32)
            assert (image == bits32(value)).all(), (case.name, name)
        half = image_of(case, found.memory, "half", 2 * values[0].numel()).view(np.uint16)
        assert (half == bits16(values[0].half())).all()


def torch_adamw(
    weight: Floats,
    first: Floats,
    gradient: Halves,
    second: Floats,
    constants: tuple[float, ...],
) -> tuple[torch.Tensor, ...]:
    """AdamW in torch, an operation at a time."""
    decay, keep, rate, blend, epsilon = (torch.tensor(c, dtype=torch.float32) for c in constants)
    w, m, v = (torch.from_numpy(values) for values in (weight, first, second))
    g = torch.from_numpy(gradient).float()
    m = m + blend * (g - m)
    v = keep * v + (1 - keep) * (g * g)
    root = unit(Function.RECIPROCAL, unit(Function.RSQRT, v))
    return decay * w - rate * (m * unit(Function.RECIPROCAL, root + epsilon)), m, v


def unit(which: Function, values: torch.Tensor) -> torch.Tensor:
    """An elementary function as WUVE has it."""
    return torch.from_numpy(evaluate(which, values.numpy().view(np.uint32)).view(np.float32))


def test_adamw_is_near_torchs_own() -> None:
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(1000))
    optimizer = torch.optim.AdamW([parameter], lr=1e-2, weight_decay=0.1)
    weight, first, second = parameter.detach().numpy().copy(), np.zeros(1000), np.zeros(1000)
    for step in range(1, 6):
        gradient = torch.randn(1000).half()
        constants = adamw_constants(1e-2, 0.9, 0.999, 1e-8, 0.1, step)
        weight, first, second = adamw(
            weight, np.float32(first), np.float32(second), gradient.float().numpy(), constants
        )
        parameter.grad = gradient.float()
        optimizer.step()
    np.testing.assert_allclose(weight, parameter.detach().numpy(), rtol=2e-5, atol=2e-6)


def kept_of(values: Halves, mask: Mask, chunk: int, lanes: int) -> tuple[Halves, NDArray[np.int64]]:
    """What SORE must keep, as slots [chunks, rounds, n, lanes]: values and places."""
    n, m = mask.pattern.n, mask.pattern.m
    parts = values.reshape(-1, chunk)
    if mask.across:
        rows = parts.reshape(len(parts), -1, m, mask.across)
        groups = rows.swapaxes(2, 3).reshape(len(parts), -1, m)
    else:
        groups = parts.reshape(len(parts), -1, m)
    size = torch.from_numpy(np.ascontiguousarray(groups)).abs().float()
    order = torch.sort(size, dim=-1, descending=True, stable=True).indices[..., :n]
    index = order.sort(dim=-1).values.numpy()
    kept = np.take_along_axis(groups, index, axis=2)

    def slots(items: np.ndarray) -> np.ndarray:
        return items.reshape(len(parts), -1, lanes, n).swapaxes(2, 3)

    return slots(kept), slots(index)


def test_masks_are_torchs_sort_in_both_layouts() -> None:
    draw = np.random.default_rng(5)
    lanes = MACHINE.sore.lanes
    cases: list[Case] = []
    masks: list[Mask] = []
    sources: list[Halves] = []
    for m in (4, 8, 16):
        for n in {1, 2, m // 2}:
            for across in (0, 2 * lanes):
                chunk = 2 * lanes * m
                values = halves(draw, 6 * chunk, False)
                values[: chunk // 2] = np.round(values[: chunk // 2])  # ties
                mask = Mask(Pattern(n, m), across)
                cases.append(mask_case(f"{n}:{m} {across}", MACHINE, values, chunk, mask))
                masks.append(mask)
                sources.append(values)
    for case, mask, values, found in zip(cases, masks, sources, run(MACHINE, cases), strict=True):
        check_kept(case, found.memory, "kept", values, mask, 2 * lanes * mask.pattern.m)


def check_kept(
    case: Case, memory: NDArray[np.uint8], name: str, values: Halves, mask: Mask, chunk: int
) -> None:
    """Kept values and the planes of their places are those of torch's sort."""
    kept, index = kept_of(values, mask, chunk, MACHINE.sore.lanes)
    image = image_of(case, memory, name, 2 * kept.size)
    assert (image.view(np.uint16) == kept.reshape(-1).view(np.uint16)).all()
    planes = mask.pattern.index_bits
    pitch = -(-index[0].size // 8 // 16) * 16
    image = image_of(case, memory, f"{name} planes", len(index) * planes * pitch)
    stored = image.reshape(len(index), planes, pitch)
    for bit in range(planes):
        unpacked = np.unpackbits(stored[:, bit], axis=1, bitorder="little")
        assert (unpacked[:, : index[0].size] == (index >> bit & 1).reshape(len(index), -1)).all()


def test_both_layouts_of_an_update_are_made_from_what_it_made() -> None:
    """The second one reads the same bank, although the first one took the token."""
    draw = np.random.default_rng(7)
    weight, velocity, gradient = (draw.standard_normal(512).astype(np.float32) for _ in range(3))
    masks = (Mask(Pattern(2, 4)), Mask(Pattern(2, 8), across=16))
    work = Update(0, "sgd-momentum", (0.1, 0.9, 5e-4))
    case = update_case(
        "both", MACHINE, weight, velocity, gradient.astype(np.float16), 128, work, masks
    )
    (found,) = run(MACHINE, [case])
    values = image_of(case, found.memory, "half", 2 * weight.size).view(np.float16)
    assert np.count_nonzero(values) > 500
    for place, mask in enumerate(masks):
        check_kept(case, found.memory, f"kept{place}", values, mask, 128)


OPS = {
    "copy": lambda a, b: a,
    "relu": lambda a, b: torch.relu(a),
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "threshold_backward": lambda a, b: torch.ops.aten.threshold_backward(a, b, 0),
}


def test_vector_ops_are_torchs_to_the_bit() -> None:
    draw = np.random.default_rng(6)
    cases: list[Case] = []
    wanted: list[NDArray[np.uint16]] = []
    for op, function in OPS.items():
        a, b = halves(draw, 4000, True), halves(draw, 4000, True)
        given = [a, b] if PROGRAMS[op].inputs == 2 else [a]
        cases.append(vector_case(op, MACHINE, given, vector_work(op, 200, MACHINE.wuve), count=20))
        wanted.append(bits16(function(torch.from_numpy(a), torch.from_numpy(b))))
    for case, bits, found in zip(cases, wanted, run(MACHINE, cases), strict=True):
        image = image_of(case, found.memory, "result", 2 * bits.size).view(np.uint16)
        differing = np.flatnonzero(image != bits)
        assert not differing.size, (case.name, image[differing[:3]], bits[differing[:3]])
