"""A residual network without norms."""

import torch
from torch import nn

import undertow as ut


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)

    def forward(self, x):
        return x + self.down(self.act(self.up(x)))


def make(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(*[Block() for _ in range(8)], nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [(torch.randn(32, 16), torch.randint(3, (32,))) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches)
