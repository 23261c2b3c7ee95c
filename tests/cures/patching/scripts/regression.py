"""Targets far from zero, a rectifier at the output, and the optimizer made inside the call."""

import torch
from torch import nn

import undertow as ut

mse = nn.functional.mse_loss
x = torch.linspace(-20, 20, 256)[:, None]
y = x**2 + 100
order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
BATCHES = [(x[i], y[i]) for _ in range(10) for i in order.split(32)]


def build():
    return nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1), nn.ReLU())


def make(seed):
    model = build()
    return ut.Training(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        mse,
        BATCHES,
        metric=lambda model: -float(nn.functional.mse_loss(model(x), y)),
    )
