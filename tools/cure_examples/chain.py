"""A chain of sigmoid layers."""

import torch
from torch import nn

import undertow as ut


def make(seed):
    torch.manual_seed(seed)
    hidden = [part for _ in range(6) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    model = nn.Sequential(*hidden, nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [(torch.randn(32, 16), torch.randint(3, (32,))) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches)
