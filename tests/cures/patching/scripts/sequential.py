"""A chain written down layer by layer, all in make."""

import torch
from torch import nn

import undertow as ut

X = torch.randn(128, 6, generator=torch.Generator().manual_seed(7))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def make(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(6, 8),
        nn.Sigmoid(),  # the fault
        nn.Linear(8, 8),
        nn.Sigmoid(),
        nn.Linear(8, 3),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 128, 16)]
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches)


if __name__ == "__main__":
    raise SystemExit("not meant to be run by a test")
