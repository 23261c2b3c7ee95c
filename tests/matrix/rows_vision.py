"""Rows 9 and 10: timm's small models, and a ViT of Hugging Face."""

from __future__ import annotations

from typing import Any

import torch
from rows import Setting, classifying, row
from rows_language import SDPA
from torchvision_standin import torchvision_standin


def timm(name: str, side: int = 32, **arguments: Any) -> Setting:
    with torchvision_standin():
        import timm
    model = timm.create_model(name, num_classes=4, **arguments)
    return classifying(model, (4, 3, side, side), optimizer=torch.optim.AdamW(model.parameters(), 1e-3))


@row(9, "timm test_resnet", activations={"relu": 12}, needs="timm")
def test_resnet() -> Setting:
    return timm("test_resnet")


@row(9, "timm test_efficientnet", activations={"swish": 11, "sigmoid": 2}, needs="timm")
def test_efficientnet() -> Setting:
    return timm("test_efficientnet")


@row(9, "timm mobilenetv3_small_050", activations={"hardswish": 19, "relu": 14, "hardsigmoid": 9}, needs="timm")
def mobilenetv3() -> Setting:
    return timm("mobilenetv3_small_050", 64)


@row(10, "timm test_vit", activations={"gelu": 6}, not_observed=[SDPA], needs="timm")
def test_vit() -> Setting:
    return timm("test_vit", img_size=32)


@row(10, "timm test_convnext", activations={"gelu_tanh": 9}, needs="timm")
def test_convnext() -> Setting:
    return timm("test_convnext")


@row(10, "Hugging Face ViT", activations={"gelu": 2}, not_observed=[SDPA], needs="transformers")
def vit() -> Setting:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
        num_labels=4,
    )
    model = transformers.ViTForImageClassification(config)
    return classifying(model.train(), (8, 3, 32, 32), output=lambda y: y.logits)
