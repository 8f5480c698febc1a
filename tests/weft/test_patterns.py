"""One pattern for all layers, or one per layer, in simulation and in training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weft.mapper.sparsity.patterns import parse_patterns, pattern_label, pattern_setting
from weft.models.training.run import Price, Priced, train
from weft.models.training.settings import TrainSettings
from weft.models.zoo import build
from weft.sim.pattern import DENSE, Pattern
from weft.simulation import simulate
from weft.training import pricing_on

LAYERS = {"blocks.0.*": "2:8", "blocks.1.*": "4:8", "blocks.1.attention.*": "1:8"}


def priced_patterns(recipe: str, pattern: str | dict[str, str]) -> dict[str, set[str]]:
    run = simulate(lambda: build("char-gpt", batch=2), recipe=recipe, pattern=pattern)
    found: dict[str, set[str]] = {}
    for row in run.layers:
        if row["stage"] == "ff" and row["m"]:
            found.setdefault(row["name"], set()).add(row["pattern"])
    return found


def test_each_layer_has_the_pattern_of_the_last_rule_that_matches() -> None:
    found = priced_patterns("domino", LAYERS)
    weights = {name: kinds for name, kinds in found.items() if kinds != {"dense"}}
    assert weights
    for name, kinds in weights.items():
        expected = "2:8" if name.startswith("blocks.0") else "1:8" if "attention" in name else "4:8"
        assert kinds == {expected}, name


def test_one_pattern_for_every_layer_is_that_pattern() -> None:
    assert priced_patterns("srste", {"*": "2:8"}) == priced_patterns("srste", "2:8")


def test_a_rule_that_matches_nothing_is_named() -> None:
    with pytest.raises(ValueError, match=r"pattern rule 'nowhere' matches no layer; nearest: "):
        priced_patterns("srste", {"*": "2:8", "nowhere": "1:8"})


def test_a_file_holds_the_layers(tmp_path: Path) -> None:
    path = tmp_path / "layers.json"
    path.write_text(json.dumps(LAYERS), encoding="utf-8")
    setting = pattern_setting(str(path))
    assert parse_patterns(setting) == {rule: Pattern.parse(p) for rule, p in LAYERS.items()}
    assert pattern_label(setting) == "2:8,4:8,1:8"
    assert pattern_setting("2:8") == "2:8"
    assert parse_patterns("") is DENSE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[1]", "is no object of layer to N:M"),
        ("{}", "is no object of layer to N:M"),
        ('{"a": 2}', "layer 'a' has no pattern"),
        ('{"a": "9:8"}', "9:8"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "layers.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as told:
        pattern_setting(str(path))
    assert "\n" not in str(told.value)


def test_training_obeys_and_prices_the_same_layers() -> None:
    seen: dict[str, tuple[int, int]] = {}

    def price_of(priced: Priced) -> Price:
        seen.update(priced.patterns)
        return pricing_on("sat-vcu1525")(priced)

    settings = TrainSettings(
        "char-gpt", "chars", recipe="domino", pattern=json.dumps(LAYERS), steps=2, batch=2
    )
    run = train(settings, price=price_of)
    assert run.time_s is not None
    assert {name.split(".")[1]: seen[name] for name in seen if "attention" not in name} == {
        "0": (2, 8),
        "1": (4, 8),
    }
    assert 0.1 < run.weight_density < 0.5


def test_a_recipe_that_is_sparse_only_later_needs_a_pattern_too() -> None:
    with pytest.raises(ValueError, match="needs --pattern N:M"):
        simulate(lambda: build("mlp", batch=2), recipe="pgf-linear", steps=100)
