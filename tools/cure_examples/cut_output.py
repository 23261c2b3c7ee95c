"""A regression whose output can't fall below zero."""

import torch
from torch import nn

import undertow as ut


def make(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1), nn.ReLU())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = [(torch.randn(32, 8), 5 * torch.randn(32, 1)) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.mse_loss, batches)
