import torch
import torch.nn.functional as F
from torch import nn

import undertow as ut


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(6, 8)
        self.mid = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = torch.sigmoid(self.up(x))  # saturates
        h = torch.sigmoid(self.mid(h))
        return self.head(h)


def data():
    x = torch.randn(128, 6, generator=torch.Generator().manual_seed(7))
    return x, (x[:, 0] > 0).long()


def make(seed):
    model = Functional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    x, y = data()
    return ut.Training(model, optimizer, F.cross_entropy, list(zip(x.split(16), y.split(16), strict=True)))
