"""A softmax over the batch."""

import torch
from torch import nn

import undertow as ut


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 3)

    def forward(self, x):
        h = self.first(x)
        return torch.log_softmax(self.second(torch.relu(h)), dim=0)


def make(seed):
    torch.manual_seed(seed)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = [(torch.randn(32, 8), torch.randint(3, (32,))) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.nll_loss, batches)
