"""A transformer with the norms behind the sums."""

import torch
from torch import nn

import undertow as ut


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.read = nn.Linear(16, 3)

    def forward(self, x):
        return self.read(self.layers(x).mean(1))


def make(seed):
    torch.manual_seed(seed)
    model = Reader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = [(torch.randn(16, 6, 16), torch.randint(3, (16,))) for _ in range(20)]
    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches)
