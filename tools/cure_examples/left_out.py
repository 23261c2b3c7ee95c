"""A head that was made anew after the optimizer."""

import torch
from torch import nn

import undertow as ut


def make(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model[2] = nn.Linear(16, 3)
    batches = [(torch.randn(32, 8), torch.randint(3, (32,))) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches)
