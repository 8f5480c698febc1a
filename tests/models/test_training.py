"""Training runs: data, logs, prices, and resuming bit for bit after a kill at any moment."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weft.models.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from weft.models.training.data import DataError, ImageData, TextData, load_data
from weft.models.training.log import Record, paired_difference, read_log
from weft.models.training.run import Priced, TrainRun, compare_runs, train, train_seeds
from weft.models.training.settings import TrainSettings

DIGITS = TrainSettings("mlp", "digits", "bdwp", "2:8", steps=30, checkpoint_every=7)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoint.pt")["model"]


def equal(one: Path, other: Path) -> bool:
    pairs = zip(weights(one).values(), weights(other).values(), strict=True)
    same = all(torch.equal(a, b) for a, b in pairs)
    return same and (one / "log.jsonl").read_bytes() == (other / "log.jsonl").read_bytes()


@pytest.mark.parametrize("recipe", ["dense", "bdwp", "fst"])
def test_digits_are_learnt(recipe: str) -> None:
    run = train(replace(DIGITS, recipe=recipe, steps=150))
    assert run.metric_name == "accuracy"
    assert run.metric > 0.9
    assert run.sparse_inference == (recipe == "bdwp")
    # 300 inputs are 37 groups and a half, so 76 of them stay.
    assert run.weight_density == pytest.approx(76 / 300 if recipe == "bdwp" else 1.0)


def test_characters_are_learnt(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the weft goes over and under the warp; " * 200)
    run = train(TrainSettings("char-gpt", str(text), "bdwp", "2:8", steps=60, batch=8))
    assert run.metric_name == "bits_per_character"
    assert run.metric < 2.5 < math.log2(97)


def test_equal_settings_are_the_same_run_and_other_seeds_are_not() -> None:
    first, again = train(DIGITS), train(DIGITS)
    assert first.records == again.records
    assert train(replace(DIGITS, seed=1)).records != first.records


def test_seeds_pair_weights_and_batches_across_recipes() -> None:
    dense, sparse = (train(replace(DIGITS, recipe=r, steps=2)) for r in ("dense", "sdwp"))
    # SDWP's forward is dense, so with equal weights and batches the first loss is the same.
    assert dense.records[0].loss == pytest.approx(sparse.records[0].loss, rel=1e-6)


@pytest.mark.parametrize(
    "recipe", ["bdwp", "fst:every=5", "sste", "rigl:every=5", "bimask:every=5"]
)
def test_a_run_that_stops_goes_on_bit_for_bit(recipe: str, tmp_path: Path) -> None:
    settings = replace(DIGITS, recipe=recipe)

    def stop(record: Record) -> None:
        if record.step == 17:
            raise KeyboardInterrupt

    train(settings, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(settings, out=tmp_path / "parts", on_step=stop)
    assert not (tmp_path / "parts" / "result.json").exists()
    resumed = train(settings, out=tmp_path / "parts")
    assert len(resumed.records) == 30
    assert equal(tmp_path / "whole", tmp_path / "parts")


CHILD = """
import sys
from pathlib import Path
from weft.models.training.run import train
from weft.models.training.settings import TrainSettings
train(TrainSettings("mlp", "digits", "fst", "2:4", steps=150, checkpoint_every=3, threads=1),
      out=Path(sys.argv[1]))
"""


def start(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(folder)])


def test_a_killed_process_goes_on_bit_for_bit(tmp_path: Path) -> None:
    assert start(tmp_path / "whole").wait() == 0
    killed = tmp_path / "killed"
    for wait_s in (0.05, 0.1):
        child = start(killed)
        checkpoint = killed / "checkpoint.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while child.poll() is None and (
            not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before
        ):
            time.sleep(0.01)
        time.sleep(wait_s)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not (killed / "result.json").exists()
    assert start(killed).wait() == 0
    assert equal(tmp_path / "whole", killed)


def test_steps_are_priced_by_the_recipe_that_training_obeys(tmp_path: Path) -> None:
    seen: list[Priced] = []

    def price(run: Priced) -> Any:
        seen.append(run)
        return lambda step: (0.5, 2.0) if run.recipe.at(step).rules else (1.0, 3.0)

    settings = TrainSettings("mlp", "digits", "fst", "2:8", steps=12, checkpoint_every=5)
    run = train(settings, out=tmp_path, price=price)
    # The last sixth is dense.
    assert (run.time_s, run.energy_j) == (10 * 0.5 + 2, 10 * 2 + 2 * 3)
    assert [r.time_s for r in read_log(tmp_path / "log.jsonl")] == [r.time_s for r in run.records]
    assert seen[0].dense == ("5", "1")
    assert seen[0].input_shape == (1, 8, 8)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["time_s"] == run.time_s
    assert result["sparse_inference"] is False


def test_several_seeds_and_their_paired_difference(tmp_path: Path) -> None:
    dense = train_seeds(replace(DIGITS, recipe="dense"), range(3), out=tmp_path)
    sparse = train_seeds(DIGITS, range(3))
    assert (tmp_path / "seed-2" / "result.json").exists()
    mean, error = compare_runs(dense, sparse)
    gaps = [b.metric - a.metric for a, b in zip(dense, sparse, strict=True)]
    assert mean == pytest.approx(np.mean(gaps))
    assert error == pytest.approx(np.std(gaps, ddof=1) / 3**0.5)
    with pytest.raises(ValueError, match=r"seeds \[0, 1, 2\] and \[0\] do not pair"):
        compare_runs(dense, sparse[:1])


def test_one_pair_has_no_standard_error() -> None:
    mean, error = paired_difference([1.0], [3.0])
    assert mean == 2
    assert math.isnan(error)


def test_checkpoints_are_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("evil",))


def _corrupt(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "garbage":
        path.write_bytes(b"garbage")
    elif how == "code":
        path.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save({"step": 3}, path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["cut", "garbage", "code", "foreign"])
def test_a_corrupt_checkpoint_is_told_and_stays(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    train(replace(DIGITS, steps=8), out=out)
    _corrupt(out / "checkpoint.pt", how)
    before = (out / "checkpoint.pt").read_bytes()
    with pytest.raises(CheckpointError, match=r"checkpoint .*checkpoint\.pt is ") as caught:
        train(replace(DIGITS, steps=8), out=out)
    assert "\n" not in str(caught.value)
    assert (out / "checkpoint.pt").read_bytes() == before
    assert not (tmp_path / "evil").exists()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    train(replace(DIGITS, steps=8), out=tmp_path)
    with pytest.raises(CheckpointError, match="recipe is 'bdwp' there and 'srste' here"):
        train(replace(DIGITS, steps=8, recipe="srste"), out=tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mpl"}, "model 'mpl' is not in the zoo"),
        ({"data": "mnist"}, "data 'mnist' is not known; allowed: digits, synthetic, chars"),
        ({"data": "chars"}, "data chars is text; mlp does not predict characters"),
        ({"model": "char-gpt"}, "data digits is images; char-gpt takes tokens"),
        ({"data": "synthetic:noise=-1"}, "'noise=-1' is not possible"),
        ({"data": "synthetic:colour=1"}, "'colour=1' is not possible"),
        ({"recipe": "srste:decay=2"}, "decay is 2; allowed 0 to 1"),
        ({"pattern": "2:64", "skip": ("3",)}, "pattern 2:64 fits no layer"),
        ({"learning_rate": 1e30, "optimizer": "sgd"}, "a smaller learning rate may help"),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(replace(DIGITS, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"batch": -1}, "batch is -1; it must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"optimizer": "lion"}, "optimizer 'lion' is not known; allowed: sgd"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DIGITS, **changes)


def test_a_short_corpus_is_told(tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("too short")
    with pytest.raises(DataError, match="has 9 characters; windows of 64 need 1280"):
        train(TrainSettings("char-gpt", str(text)))
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match=r"binary\.txt is no UTF-8 text"):
        load_data(str(tmp_path / "binary.txt"))


def _pictures(folder: Path, size: tuple[int, int] = (8, 8)) -> Path:
    from PIL import Image

    for label, shade in (("dark", 20), ("light", 220)):
        (folder / label).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", size, (shade + number,) * 3).save(folder / label / f"{number}.png")
    return folder


def test_a_folder_of_images(tmp_path: Path) -> None:
    data = load_data(str(_pictures(tmp_path / "images")))
    assert isinstance(data, ImageData)
    assert (len(data.train), data.input_shape, data.classes) == (16, (3, 8, 8), 2)
    assert data.shaped_for(3, 32).input_shape == (3, 32, 32)
    with pytest.raises(DataError, match="has 3 channels; the model takes 1"):
        data.shaped_for(1, 8)


def test_wrong_image_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no two folders of images"):
        load_data(str(tmp_path))
    folder = _pictures(tmp_path / "images")
    (folder / "dark" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"image .*0\.png cannot be read"):
        load_data(str(folder))


def test_synthetic_images_get_harder_with_noise() -> None:
    def accuracy(noise: float) -> float:
        data = f"synthetic:samples=1000,size=16,noise={noise}"
        return train(replace(DIGITS, data=data, steps=60)).metric

    assert accuracy(0.0) > accuracy(6.0) + 0.2


def test_the_library_corpus_is_text() -> None:
    data = load_data("chars")
    assert isinstance(data, TextData)
    assert len(data.train) > 1_000_000
    assert int(data.train.max()) < data.classes
    windows, labels = data.batch(4, 16, seed=3, step=5)
    assert windows.shape == (4, 16)
    assert torch.equal(windows, labels)


def test_epochs_see_every_image_once() -> None:
    data = load_data("digits")
    assert isinstance(data, ImageData)
    count = len(data.train)
    marked = replace(data, train=torch.arange(count).float().view(-1, 1, 1, 1))
    seen = torch.cat([marked.batch(50, 0, step)[0].flatten() for step in range(2 * count // 50)])
    first, second = seen[:count], seen[count : 2 * count]
    assert len(first.unique()) == count
    assert not torch.equal(first[: len(second)], second)


def test_learning_rate_rises_and_falls() -> None:
    settings = replace(DIGITS, steps=100, learning_rate=1.0)
    rates = [settings.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[5] == pytest.approx(1.0)
    assert rates[-1] < 0.01


def test_a_log_is_read_without_torch(tmp_path: Path) -> None:
    run: TrainRun = train(replace(DIGITS, steps=3), out=tmp_path)
    (tmp_path / "log.jsonl").open("a").write('{"step": 3, "lo')
    assert read_log(tmp_path / "log.jsonl") == list(run.records)
    code = "import sys; import weft.models.training.log; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
