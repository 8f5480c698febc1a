"""Data that needs no download, and the user's own images and text.

Everything is held in memory. Batches are a pure function of (seed, step), so that runs pair by
seed across recipes and resume without any state.
"""

from __future__ import annotations

import math
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional

__all__ = ["DataError", "ImageData", "TextData", "load_data"]

_VALIDATION_SHARE = 0.2
_TEXT_VALIDATION_SHARE = 0.1
_CORPUS_CHARACTERS = 1_500_000
_PRINTABLE = [chr(code) for code in range(32, 127)]
_IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm"})


class DataError(ValueError):
    """Data that does not exist or does not suffice; the message is one line."""


@dataclass(frozen=True)
class ImageData:
    """Labelled images in memory.

    Attributes:
        name: as the user gave it.
        train: images [N, C, H, W], standardised with the training set's mean and deviation.
        train_labels: [N].
        validation: as train.
        validation_labels: as train_labels.
        classes: how many labels there are.
    """

    name: str
    train: torch.Tensor
    train_labels: torch.Tensor
    validation: torch.Tensor
    validation_labels: torch.Tensor
    classes: int
    metric: Literal["accuracy"] = "accuracy"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.train.shape[1:])

    def batch(self, size: int, seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and labels of a step: every epoch is a new permutation of the training set."""
        count = len(self.train)
        at = step * size + torch.arange(size)
        epochs = torch.div(at, count, rounding_mode="floor")
        picks = torch.cat(
            [
                _permutation(count, seed, int(epoch))[at[epochs == epoch] % count]
                for epoch in epochs.unique()
            ]
        )
        return self.train[picks], self.train_labels[picks]

    def shaped_for(self, channels: int, smallest: int) -> ImageData:
        """Grey images repeated to ``channels`` and enlarged by a whole factor to ``smallest``.

        Raises:
            DataError: a number of channels that cannot be had.
        """
        given, height, width = self.input_shape
        if given not in (1, channels):
            raise DataError(f"data {self.name} has {given} channels; the model takes {channels}")
        factor = max(1, math.ceil(smallest / min(height, width)))

        def shape(images: torch.Tensor) -> torch.Tensor:
            wide = images.expand(-1, channels, -1, -1)
            if factor == 1:
                return wide.contiguous()
            return functional.interpolate(wide, scale_factor=float(factor), mode="nearest")

        return ImageData(
            self.name,
            shape(self.train),
            self.train_labels,
            shape(self.validation),
            self.validation_labels,
            self.classes,
        )


@dataclass(frozen=True)
class TextData:
    """A text as numbered characters; the last tenth is for validation.

    Attributes:
        name: as the user gave it.
        train: characters [length].
        validation: as train.
        classes: size of the vocabulary.
    """

    name: str
    train: torch.Tensor
    validation: torch.Tensor
    classes: int
    metric: Literal["bits_per_character"] = "bits_per_character"

    def batch(
        self, size: int, length: int, seed: int, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Windows [size, length] from random places, twice: as inputs and as labels."""
        generator = torch.Generator().manual_seed(_mixed(seed, step))
        starts = torch.randint(len(self.train) - length + 1, (size,), generator=generator)
        windows = self.train[starts.unsqueeze(1) + torch.arange(length)]
        return windows, windows

    def windows(self, length: int, most: int = 512) -> torch.Tensor:
        """Validation text cut into at most ``most`` windows [count, length], evenly spread."""
        whole = self.validation[: len(self.validation) // length * length].view(-1, length)
        if len(whole) <= most:
            return whole
        return whole[torch.linspace(0, len(whole) - 1, most).long()]

    def check_length(self, length: int) -> None:
        """Refuse a text in which no window fits."""
        needed = math.ceil(2 * length / _TEXT_VALIDATION_SHARE)
        total = len(self.train) + len(self.validation)
        if min(len(self.train), len(self.validation)) < 2 * length:
            raise DataError(
                f"data {self.name} has {total} characters; windows of {length} need {needed}"
            )


def load_data(text: str) -> ImageData | TextData:
    """The data that ``text`` names.

    ``digits`` (scikit-learn's, 8x8), ``synthetic[:classes=10,size=32,samples=4000,noise=1.0]``,
    ``chars`` (Python's own standard library), a folder with one folder of images per class, or a
    text file.

    Raises:
        DataError: there is no such data, or a setting or file is wrong.
    """
    name, _, settings = text.partition(":")
    if text == "digits":
        return _digits()
    if name == "synthetic":
        return _synthetic(text, _settings(settings))
    if text == "chars":
        return _library_text()
    path = Path(text)
    if path.is_dir():
        return _image_folder(path)
    if path.is_file():
        return _text(text, _read(path))
    raise DataError(
        f"data {text!r} is not known; allowed: digits, synthetic, chars, a folder of images with "
        "one folder per class, a text file"
    )


def _mixed(seed: int, step: int) -> int:
    return (seed + 1) * 1_000_003 + step


def _permutation(count: int, seed: int, epoch: int) -> torch.Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(_mixed(seed, epoch)))


def _digits() -> ImageData:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("data digits needs scikit-learn: pip install 'weft[train]'") from None
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1)  # pyright: ignore[reportAttributeAccessIssue]
    return _split("digits", images, torch.tensor(found.target), 10)  # pyright: ignore[reportAttributeAccessIssue]


_SYNTHETIC = {"classes": 10.0, "size": 32.0, "channels": 3.0, "samples": 4000.0, "noise": 1.0}


def _settings(text: str) -> dict[str, float]:
    values = dict(_SYNTHETIC)
    for part in filter(None, text.split(",")):
        key, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if key not in values or number < (0 if key == "noise" else 1):
            raise DataError(
                f"data synthetic: {part!r} is not possible; allowed: classes, size, channels, "
                "samples of at least 1, noise of at least 0"
            )
        values[key] = number
    return values


def _synthetic(name: str, settings: dict[str, float]) -> ImageData:
    """Smooth random prototypes, one per class, under shifts and noise.

    ``noise`` is the deviation of the noise over that of the prototypes: 0 is trivial, above 3
    little can be learnt.
    """
    classes, size, channels, samples = (
        int(settings[key]) for key in ("classes", "size", "channels", "samples")
    )
    generator = torch.Generator().manual_seed(20)
    coarse = torch.randn(classes, channels, 4, 4, generator=generator)
    prototypes = functional.interpolate(coarse, size=(size, size), mode="bicubic")
    prototypes = prototypes / prototypes.std()
    labels = torch.arange(samples) % classes
    shifts = torch.randint(-size // 8, size // 8 + 1, (samples, 2), generator=generator)
    images = torch.stack(
        [
            prototypes[label].roll((int(down), int(right)), (1, 2))
            for label, (down, right) in zip(labels, shifts, strict=True)
        ]
    )
    images = images + settings["noise"] * torch.randn(images.shape, generator=generator)
    return _split(name, images, labels, classes)


def _split(name: str, images: torch.Tensor, labels: torch.Tensor, classes: int) -> ImageData:
    """A fifth for validation, the same for every run."""
    count = len(images)
    held = max(1, round(_VALIDATION_SHARE * count))
    if count - held < 1:
        raise DataError(f"data {name} has {count} images; at least 2 are needed")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    validation, train = order[:held], order[held:]
    mean, deviation = images[train].mean(), images[train].std().clamp(min=1e-8)
    images = (images - mean) / deviation
    return ImageData(
        name, images[train], labels[train], images[validation], labels[validation], classes
    )


def _image_folder(path: Path) -> ImageData:
    try:
        import numpy as np
        from PIL import Image
    except ImportError:
        raise DataError("a folder of images needs pillow: pip install 'weft[train]'") from None
    folders = sorted(child for child in path.iterdir() if child.is_dir())
    images: list[torch.Tensor] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() not in _IMAGE_SUFFIXES:
                continue
            try:
                with Image.open(file) as opened:
                    pixels = np.asarray(opened.convert("RGB"), dtype=np.float32)
            except OSError as error:
                raise DataError(f"image {file} cannot be read: {error}") from None
            images.append(torch.from_numpy(pixels).permute(2, 0, 1))
            labels.append(label)
    sizes = {tuple(image.shape) for image in images}
    if len(folders) < 2 or len(images) < 2:
        raise DataError(f"folder {path} has no two folders of images, one per class")
    if len(sizes) > 1:
        shown = ", ".join(f"{h}x{w}" for _, h, w in sorted(sizes)[:3])
        raise DataError(f"folder {path} has images of different sizes ({shown}); make them equal")
    return _split(str(path), torch.stack(images), torch.tensor(labels), len(folders))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"file {path} is no UTF-8 text") from None


def _library_text() -> TextData:
    """The modules of Python's standard library, in the order of their names."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts: list[str] = []
    length = 0
    for file in sorted(folder.glob("*.py")):
        parts.append(file.read_text(encoding="utf-8", errors="replace"))
        length += len(parts[-1])
        if length >= _CORPUS_CHARACTERS:
            break
    return _text("chars", "".join(parts)[:_CORPUS_CHARACTERS])


def _text(name: str, text: str) -> TextData:
    """Printable ASCII keeps a number each; the line end and all else share the last two."""
    numbers = {letter: number for number, letter in enumerate(_PRINTABLE)}
    numbers["\n"] = len(_PRINTABLE)
    rest = len(numbers)
    encoded = torch.tensor([numbers.get(letter, rest) for letter in text], dtype=torch.long)
    cut = len(encoded) - round(_TEXT_VALIDATION_SHARE * len(encoded))
    return TextData(name, encoded[:cut], encoded[cut:], rest + 1)
