"""A language model of characters, an LSTM, on the help texts that ship with Python.

python examples/topics_lstm.py                   trains it: it does not learn which letter comes next
undertow check examples/topics_lstm.py:make      says why
undertow cure examples/topics_lstm.py:make       searches for what cures it, and proves it
"""

from pydoc_data.topics import topics

import torch
from torch import nn

import undertow as ut

TEXT = "\n".join(topics.values())
SYMBOLS = sorted(set(TEXT))
CODES = torch.tensor([SYMBOLS.index(symbol) for symbol in TEXT[:200_000]])
LENGTH, BATCH, STEPS, HELD_OUT = 32, 32, 120, 8


class Reader(nn.Module):
    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.embed = nn.Embedding(len(SYMBOLS), 32)
        self.memory = nn.LSTM(32, width, batch_first=True)
        self.read = nn.Linear(width, len(SYMBOLS))
        nn.init.normal_(self.memory.weight_hh_l0, std=2.0)  # far too large: each gate sums up 96 of these

    def forward(self, symbols):
        states, _ = self.memory(self.embed(symbols))
        return self.read(states)


def loss(output, target):
    return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten())


def make(seed: int) -> ut.Training:
    torch.manual_seed(seed)
    model = Reader()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    starts = torch.randint(len(CODES) - LENGTH - 1, (STEPS + HELD_OUT, BATCH))
    texts = [torch.stack([CODES[i : i + LENGTH + 1] for i in batch]) for batch in starts]
    batches = [(text[:, :-1], text[:, 1:]) for text in texts]
    return ut.Training(model, optimizer, loss, batches[HELD_OUT:], held_out=batches[:HELD_OUT])


if __name__ == "__main__":
    training = make(0)
    for step, (x, y) in enumerate(training.batches):
        value = training.loss(training.model(x), y)
        training.optimizer.zero_grad()
        value.backward()
        training.optimizer.step()
        if step % 20 == 0:
            print(f"step {step:4}  loss {value.item():.3f}")
    print(f"last loss {value.item():.3f}")
