"""A fast part of ``make models``: real models simulated to the end on both kinds of machine."""

from __future__ import annotations

import pytest

from benchmarks.real_models.case import Case
from benchmarks.real_models.check import check
from benchmarks.real_models.language import LANGUAGE
from benchmarks.real_models.perception import PERCEPTION
from benchmarks.real_models.setups import SETUPS

pytest.importorskip("transformers", reason="transformers is not installed")

FAST = ("mixtral, eager", "llama", "vit", "wav2vec2", "bfloat16", "jit.trace", "CTC loss",
        "quantization-aware", "EmbeddingBag", "ConvTranspose2d", "torch.compile")  # fmt: skip
CASES = [case for case in (*LANGUAGE, *PERCEPTION, *SETUPS) if case.name in FAST]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_real_model_is_simulated_to_the_end(case: Case) -> None:
    row = check(case)
    assert not row.error
    assert row.macs_equal is True
    assert not row.uncosted["h100-sxm"]
    assert row.holds


def test_at_least_sixty_models_are_in_the_table() -> None:
    from benchmarks.real_models.__main__ import all_cases

    found = all_cases()
    assert len({(case.library, case.name) for case in found}) == len(found) >= 60
