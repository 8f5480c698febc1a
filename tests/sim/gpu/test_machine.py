"""GPU machine files: presets agree with their datasheets, and bad fields are named."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest

from weft.sim.gpu.prediction.constants import BOUNDS, constant_sets, load_constants, parse_constants
from weft.sim.gpu.prediction.machine import gpu_names, gpu_sources, load_gpu, parse_gpu

PEAK_TFLOPS = {
    "v100-sxm": 125, "a100-sxm": 312, "a100-sxm-40": 312, "a100-pcie": 312, "a100-pcie-40": 312,
    "h100-sxm": 989, "h100-96-500w": 989, "h100-pcie": 756, "h200-sxm": 989,
    "b200-sxm": 2250, "l40s": 362, "l4": 121, "rtx3090": 71, "rtx4090": 165, "rtx5080": 112.6,
}  # fmt: skip


def table(name: str = "h100-sxm") -> dict[str, object]:
    text = (resources.files("weft.sim.gpu.prediction") / f"machines/{name}.toml").read_text()
    return tomllib.loads(text)


def test_every_gpu_asked_for_is_there() -> None:
    assert set(gpu_names()) == set(PEAK_TFLOPS)


@pytest.mark.parametrize("name", sorted(PEAK_TFLOPS))
def test_peak_is_the_datasheets(name: str) -> None:
    assert load_gpu(name).peak_flop_s("fp16") / 1e12 == pytest.approx(PEAK_TFLOPS[name], rel=0.013)


@pytest.mark.parametrize("name", sorted(PEAK_TFLOPS))
def test_every_field_has_a_source(name: str) -> None:
    assert set(gpu_sources(name)) == set(load_gpu(name).__dataclass_fields__) - {"name"}
    assert all(len(source) > 10 for source in gpu_sources(name).values())


def test_a_field_out_of_range_is_named() -> None:
    bad = table() | {"sms": {"value": 0, "source": "x"}}
    with pytest.raises(ValueError, match="GPU h100-sxm: sms is 0; it must be a whole number, 1 to"):
        parse_gpu(bad)


def test_a_field_without_source_is_named() -> None:
    with pytest.raises(ValueError, match=r"sms has \['value'\]; it must have value and source"):
        parse_gpu(table() | {"sms": {"value": 132}})


def test_unknown_and_missing_fields_are_named() -> None:
    with pytest.raises(ValueError, match="warps is not a field"):
        parse_gpu(table() | {"warps": {"value": 1, "source": "x"}})
    short = table()
    del short["l2_bytes"]
    with pytest.raises(ValueError, match="l2_bytes is None; it must be a table"):
        parse_gpu(short)


def test_unknown_gpu_lists_the_known() -> None:
    with pytest.raises(ValueError, match="GPU 'h300' is unknown; known are a100-pcie, a100"):
        load_gpu("h300")


@pytest.mark.parametrize("name", sorted(PEAK_TFLOPS))
@pytest.mark.parametrize("library", ["cublas", "cublaslt", "cusparselt"])
def test_every_gpu_has_constants_or_a_measured_relative(name: str, library: str) -> None:
    found = load_constants(name, library)
    assert (found.inherited_from or name) in {gpu for gpu, _ in constant_sets()}


def test_shipped_constants_say_where_they_come_from() -> None:
    for values in constant_sets().values():
        assert {"table", "rows", "origin", "target"} <= set(values.provenance)


def test_a_constant_out_of_bounds_is_named() -> None:
    numbers = {name: low for name, (low, _) in BOUNDS.items()} | {"launch_us": -1.0}
    bad = {"gpu": "h100-sxm", "library": "cublas", "constants": numbers}
    with pytest.raises(ValueError, match=r"f\.json: launch_us is -1\.0; it must be 0\.5 to 40"):
        parse_constants(bad, "f.json")
