"""A small convolutional network."""

import torch
from torch import nn

import undertow as ut


def make(seed):
    torch.manual_seed(seed)
    convolutions = [part for _ in range(3) for part in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
    model = nn.Sequential(nn.Conv2d(1, 8, 3), *convolutions, nn.Flatten(), nn.Linear(8 * 6 * 6, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [(torch.randn(16, 1, 8, 8), torch.randint(3, (16,))) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches)
