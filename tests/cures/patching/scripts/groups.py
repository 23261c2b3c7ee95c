import torch
from torch import nn

import undertow as ut


class TwoPart(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x))


def make(seed):
    model = TwoPart()
    optimizer = torch.optim.SGD(
        [
            {"params": model.body.parameters(), "lr": 0.01},
            {"params": model.head.parameters()},
        ],
        lr=0.1,
        momentum=0.9,
    )
    x = torch.randn(128, 6, generator=torch.Generator().manual_seed(7))
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16, shuffle=True)
    return ut.Training(model, optimizer, nn.functional.cross_entropy, loader)
