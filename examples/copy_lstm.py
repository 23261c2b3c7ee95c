"""An LSTM that is to repeat the first symbols of a sequence after a long pause: gradients through time.

undertow run examples/copy_lstm.py --pause 60
"""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--pause", type=int, default=30)
parser.add_argument("--steps", type=int, default=150)
options = parser.parse_args()
SYMBOLS, LENGTH, BATCH = 8, 5, 32
BLANK, GO = SYMBOLS, SYMBOLS + 1


class Copier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS + 2, 16)
        self.memory = nn.LSTM(16, 64, batch_first=True)
        self.read = nn.Linear(64, SYMBOLS)

    def forward(self, sequence):
        states, _ = self.memory(self.embed(sequence))
        return self.read(states[:, -LENGTH:])


torch.manual_seed(0)
model = Copier()
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
criterion = nn.CrossEntropyLoss()
for step in range(options.steps):
    symbols = torch.randint(SYMBOLS, (BATCH, LENGTH))
    pause = torch.full((BATCH, options.pause), BLANK)
    cue = torch.full((BATCH, LENGTH), GO)
    answer = model(torch.cat([symbols, pause, cue], dim=1))
    loss = criterion(answer.reshape(-1, SYMBOLS), symbols.reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step:4}  loss {loss.item():.3f}")
print(f"last loss {loss.item():.3f}  (guessing gives {torch.log(torch.tensor(float(SYMBOLS))).item():.3f})")
