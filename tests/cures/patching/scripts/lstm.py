import torch
from torch import nn, optim

import undertow as ut

VOCABULARY = 12


class Language(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.recurrent = kind(8, 10, batch_first=True)
        self.out = nn.Linear(10, VOCABULARY)

    def forward(self, tokens):
        states, _ = self.recurrent(self.embed(tokens))
        return self.out(states)


def loss(logits, targets):
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def make(seed):
    torch.manual_seed(seed)
    text = torch.randint(VOCABULARY, (16, 33), generator=torch.Generator().manual_seed(1))
    model = Language()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    return ut.Training(
        model,
        optimizer,
        loss,
        [(text[:, i : i + 8], text[:, i + 1 : i + 9]) for i in range(0, 24, 3)],
    )
