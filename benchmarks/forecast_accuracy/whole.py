"""Whole networks at random initialisation, as users build them: the forecast is held against the ledger on each."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from undertow.demo.digits import split
from undertow.demo.networks import BATCH, exploding_network, sigmoid_network

TOKENS = 512


class Basic(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He, Zhang, Ren, Sun 2016, arXiv:1512.03385)."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(channels), nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(channels), nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != channels:
            project = nn.Conv2d(before, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(project, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))


def resnet18(classes: int = 10) -> nn.Module:
    """18 layers for images of 64×64, kaiming_normal_ by fan_out as its authors have it."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    before = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Basic(before, channels, stride), Basic(channels, channels, 1)]
        before = channels
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    return model


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of an image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """x + γ · pwconv2(GELU(pwconv1(norm(dwconv 7×7))))  (Liu et al. 2022, arXiv:2201.03545)."""

    def __init__(self, channels: int, scale: float = 1e-6) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1, self.act = nn.Linear(channels, 4 * channels), nn.GELU()
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.pwconv2(self.act(self.pwconv1(inner)))).permute(0, 3, 1, 2)


def convnext(classes: int = 10) -> nn.Module:
    """Stages of 2, 2, 4 and 2 blocks of 48 to 384 channels for images of 64×64, truncated normal of 0.02."""
    layers: list[nn.Module] = []
    before = 3
    for channels, blocks, patch in ((48, 2, 4), (96, 2, 2), (192, 4, 2), (384, 2, 2)):
        down = nn.Conv2d(before, channels, patch, patch)
        layers += [down, ChannelNorm(channels)] if before == 3 else [ChannelNorm(before), down]
        layers += [ConvNeXtBlock(channels) for _ in range(blocks)]
        before = channels
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(before, eps=1e-6), nn.Linear(before, classes)]
    model = nn.Sequential(*layers, *head)
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(m.weight, std=0.02)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
    return model


class GPT2(nn.Module):
    """GPT-2 of transformers, 12 blocks of width 256, for tokens; its logits alone."""

    def __init__(self) -> None:
        super().__init__()
        # a test dependency that takes seconds to import
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(
            vocab_size=TOKENS, n_positions=64, n_embd=256, n_layer=12, n_head=4, bos_token_id=None, eos_token_id=None
        )
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
        self.model = GPT2LMHeadModel(config)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(tokens, use_cache=False).logits.flatten(0, 1)


def _images() -> tuple[Tensor, Tensor]:
    return torch.randn(8, 3, 64, 64), torch.randint(10, (8,))


def _tokens() -> tuple[Tensor, Tensor]:
    return torch.randint(TOKENS, (4, 64)), torch.randint(TOKENS, (256,))


def _digits() -> tuple[Tensor, Tensor]:
    data = split(0)
    return data.x[:BATCH], data.y[:BATCH]


WHOLE: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, Tensor]]]] = {
    "demo": (sigmoid_network, _digits),
    "demo-exploding": (exploding_network, _digits),
    "ResNet-18": (resnet18, _images),
    "GPT-2": (GPT2, _tokens),
    "ConvNeXt": (convnext, _images),
}
"""What makes each, and its batch."""
