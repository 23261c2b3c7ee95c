"""Attention by hand that forgets to divide by the root of the width."""

import torch
from torch import nn

import undertow as ut


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.read = nn.Linear(32, 3)

    def forward(self, x):
        q, k, v = self.query(x), self.key(x), self.value(x)
        attention = torch.softmax(q @ k.transpose(-2, -1), dim=-1)
        return self.read((attention @ v).mean(1))


def make(seed):
    torch.manual_seed(seed)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = [(torch.randn(16, 6, 32), torch.randint(3, (16,))) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches)
