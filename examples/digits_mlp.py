"""A small network on the digits that ship with undertow, as one would write it on a first try.

python examples/digits_mlp.py                              trains it
undertow run examples/digits_mlp.py                        trains it the same, and says what is wrong with it
undertow run examples/digits_mlp.py --activation relu      and this one is sound
"""

import argparse

import torch
from torch import nn

from undertow.demo.digits import split

parser = argparse.ArgumentParser()
parser.add_argument("--activation", default="sigmoid", choices=["sigmoid", "tanh", "relu"])
parser.add_argument("--depth", type=int, default=12)
parser.add_argument("--epochs", type=int, default=10)
options = parser.parse_args()

torch.manual_seed(0)
activation = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}[options.activation]
hidden = [part for _ in range(options.depth) for part in (nn.Linear(64, 64), activation())]
model = nn.Sequential(*hidden, nn.Linear(64, 10))
if options.activation == "relu":
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

data = split(0)
optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
criterion = nn.CrossEntropyLoss()
for epoch in range(options.epochs):
    for rows in torch.randperm(len(data.x)).split(64):
        loss = criterion(model(data.x[rows]), data.y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        right = (model(data.held_out_x).argmax(1) == data.held_out_y).float().mean()
    print(f"epoch {epoch + 1:2}  loss {loss.item():.3f}  accuracy {right:.1%}")
