"""A softmax over one unit, which is 1 whatever it is given."""

import torch
from torch import nn

import undertow as ut


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 1)

    def forward(self, x):
        h = self.first(x)
        return torch.softmax(self.second(torch.relu(h)), dim=1)


def make(seed):
    torch.manual_seed(seed)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = [(torch.randn(32, 8), torch.rand(32, 1).round()) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.binary_cross_entropy, batches)
