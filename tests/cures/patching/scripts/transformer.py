"""Tokens through two encoder layers of torch's; made by a class with its own setup method."""

import torch
from torch import nn

import undertow as ut


class Reader(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        self.embed = nn.Linear(4, width)
        layer = nn.TransformerEncoderLayer(width, nhead=2, dim_feedforward=32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.mlp(self.encoder(self.embed(x))).mean(1))


class Trainer:
    def __init__(self, seed: int):
        torch.manual_seed(seed)
        self.net = Reader()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=1e-3, weight_decay=0.05)
        x = torch.randn(64, 5, 4)
        self.batches = list(zip(x.split(8), (x[:, 0, 0] > 0).long().split(8), strict=True))

    def training(self):
        return ut.Training(self.net, self.optimizer, nn.functional.cross_entropy, self.batches)


def make(seed: int) -> ut.Training:
    return Trainer(seed).training()
