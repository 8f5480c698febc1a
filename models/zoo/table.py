"""The zoo's table: what each model is, where it is published, and what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from weft.models.zoo.entry import ZooModel

__all__ = ["ZOO"]

_HERE = "weft.models.zoo"
_RESNET = "He et al., arXiv 1512.03385"
_TORCHVISION = "count as torchvision's"
_GPT2 = "Radford et al. 2019; count as transformers' GPT2LMHeadModel, head tied"
_LLAMA = "count as transformers' LlamaForCausalLM"


def _image(
    name: str,
    summary: str,
    source: str,
    parameters: int,
    batch: int,
    input_shape: tuple[int, int, int],
    classes: int,
    builder: str,
) -> ZooModel:
    return ZooModel(
        name,
        summary,
        source,
        parameters,
        batch,
        input_shape,
        "image",
        classes,
        "classes",
        f"{_HERE}.{builder}",
    )


def _text(
    name: str,
    summary: str,
    source: str,
    parameters: int,
    batch: int,
    length: int,
    vocabulary: int,
    builder: str,
    *,
    masked: bool = False,
) -> ZooModel:
    return ZooModel(
        name,
        summary,
        source,
        parameters,
        batch,
        (length,),
        "tokens",
        vocabulary,
        "masked-token" if masked else "next-token",
        f"{_HERE}.{builder}",
    )


_MODELS = (
    _image(
        "resnet9",
        "ResNet-9 for CIFAR-10",
        "Page 2018 (DAWNBench), with a bias on the classifier",
        6_573_130,
        512,
        (3, 32, 32),
        10,
        "resnet9:resnet9",
    ),
    _image(
        "vit-cifar100",
        "ViT with 4x4 patches for CIFAR-100, width 512, 6 blocks",
        "Dosovitskiy et al., arXiv 2010.11929; the size is ours, count as transformers' ViT",
        9_579_108,
        256,
        (3, 32, 32),
        100,
        "vit:vit_cifar",
    ),
    _image(
        "vgg19-cifar100",
        "VGG-19 with batch normalisation for CIFAR-100",
        "arXiv 1409.1556 for 32x32 as chenyaofo/pytorch-cifar-models (20.61 M)",
        20_612_004,
        256,
        (3, 32, 32),
        100,
        "vgg:vgg19_cifar",
    ),
    _image(
        "resnet18-tiny",
        "ResNet-18 with a 3x3 stem for Tiny-ImageNet",
        f"{_RESNET}, stem as kuangliu/pytorch-cifar (11,173,962 with 10 classes)",
        11_271_432,
        256,
        (3, 64, 64),
        200,
        "resnet:resnet18_tiny",
    ),
    _image(
        "resnet18",
        "ResNet-18 for ImageNet",
        f"{_RESNET}; {_TORCHVISION}",
        11_689_512,
        256,
        (3, 224, 224),
        1000,
        "resnet:resnet18",
    ),
    _image(
        "resnet34",
        "ResNet-34 for ImageNet",
        f"{_RESNET}; {_TORCHVISION}",
        21_797_672,
        256,
        (3, 224, 224),
        1000,
        "resnet:resnet34",
    ),
    _image(
        "resnet50",
        "ResNet-50 v1.5 for ImageNet",
        f"{_RESNET}, stride in the 3x3; {_TORCHVISION}",
        25_557_032,
        256,
        (3, 224, 224),
        1000,
        "resnet:resnet50",
    ),
    _image(
        "vit-b16",
        "ViT-Base with 16x16 patches for ImageNet",
        f"Dosovitskiy et al., arXiv 2010.11929; {_TORCHVISION}",
        86_567_656,
        64,
        (3, 224, 224),
        1000,
        "vit:vit_b16",
    ),
    _image(
        "mlp",
        "LeNet-300-100: two hidden layers",
        "LeCun et al. 1998, doi 10.1109/5.726791",
        266_610,
        128,
        (1, 28, 28),
        10,
        "mlp:lenet_300_100",
    ),
    _text(
        "bert-base",
        "BERT-Base, masked language model",
        "arXiv 1810.04805; count as transformers' BertForMaskedLM: head tied, no pooler "
        "(109,482,240 with the pooler and without the head)",
        109_514_298,
        32,
        512,
        30_522,
        "bert:bert_base",
        masked=True,
    ),
    _text("gpt2", "GPT-2 small", _GPT2, 124_439_808, 8, 1024, 50_257, "gpt2:gpt2"),
    _text("gpt2-xl", "GPT-2 XL", _GPT2, 1_557_611_200, 8, 1024, 50_257, "gpt2:gpt2_xl"),
    _text(
        "llama-7b",
        "LLaMA 7B",
        f"Touvron et al., arXiv 2302.13971; {_LLAMA}",
        6_738_415_616,
        4,
        2048,
        32_000,
        "llama:llama_7b",
    ),
    _text(
        "llama-70b",
        "Llama 2 70B, grouped-query attention",
        f"Touvron et al., arXiv 2307.09288; {_LLAMA}",
        68_976_648_192,
        4,
        4096,
        32_000,
        "llama:llama_70b",
    ),
    _text(
        "char-gpt",
        "character model: a GPT-2 of 2 blocks, width 48",
        "ours, for training on one processor",
        64_368,
        32,
        64,
        97,
        "gpt2:char_gpt",
    ),
)

ZOO: Mapping[str, ZooModel] = MappingProxyType({model.name: model for model in _MODELS})
"""Models by name, in the order they are listed."""
