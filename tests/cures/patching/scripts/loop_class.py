# A class whose __init__ makes its layers in a loop; the rate is a constant; names of the user's own.
import itertools

import torch
import torch.nn as nn
from torch.optim import SGD

from undertow import Training

RATE = 0.05
WIDTHS = (6, 8, 8, 8)


class Net(nn.Module):
    def __init__(self, widths, classes):
        super().__init__()
        self.layers = nn.ModuleList()
        for fan_in, fan_out in itertools.pairwise(widths):
            self.layers.append(nn.Linear(fan_in, fan_out))
            self.layers.append(nn.Sigmoid())
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def make(seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(96, 6, generator=g)
    y = (x.sum(1) > 0).long()
    net = Net(WIDTHS, 2)
    opt = SGD(net.parameters(), lr=RATE)
    # eight batches
    return Training(
        model=net,
        optimizer=opt,
        loss=nn.CrossEntropyLoss(),
        batches=list(zip(x.split(12), y.split(12), strict=True)),
        clip=5.0,
    )
