import torch
from torch.nn import BatchNorm2d, Conv2d, Flatten, Linear, Module, Sequential, Sigmoid
from torch.nn.functional import cross_entropy

import undertow as ut


def conv(channels_in: int, channels_out: int) -> Sequential:
    return Sequential(Conv2d(channels_in, channels_out, 3, padding=1), Sigmoid())


def build() -> Module:
    return Sequential(
        conv(1, 4),
        conv(4, 4),
        Sequential(Conv2d(4, 6, 3), BatchNorm2d(6)),
        Flatten(),
        Linear(6 * 16, 2),
    )


def make(seed: int) -> ut.Training:
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), 0.3, nesterov=True, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 4)
    x = torch.rand(64, 1, 6, 6, generator=torch.Generator().manual_seed(2)) * 5
    y = (x.mean((1, 2, 3)) > 2.5).long()
    pairs = list(zip(x.split(8), y.split(8), strict=True))
    return ut.Training(model, optimizer, cross_entropy, pairs, scheduler=scheduler)
