"""An LSTM that reads a sequence."""

import torch
from torch import nn

import undertow as ut


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory = nn.LSTM(4, 16, batch_first=True)
        self.read = nn.Linear(16, 3)

    def forward(self, x):
        states, _ = self.memory(x)
        return self.read(states[:, -1])


def make(seed):
    torch.manual_seed(seed)
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = [(torch.randn(16, 12, 4), torch.randint(3, (16,))) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches)
