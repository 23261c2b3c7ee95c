"""A vision transformer on the digits that ship with undertow, with a fault that is easy to make.

python examples/digits_vit.py                    trains it: it stays at chance
undertow run examples/digits_vit.py              trains it the same, and says what is wrong with it
undertow cure examples/digits_vit.py:make        searches for what cures it, and proves it
"""

import torch
from torch import nn

import undertow as ut
from undertow.demo import split

WIDTH, HEADS, DEPTH, BATCH, EPOCHS = 32, 4, 8, 56, 4


class ViT(nn.Module):
    """Sixteen patches of 2×2 pixels; each block normalises after it adds, as the first transformer did."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, kernel_size=2, stride=2)
        self.places = nn.Parameter(0.02 * torch.randn(16, WIDTH))
        block = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, DEPTH, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, pixels):
        tokens = self.patches(pixels.view(-1, 1, 8, 8)).flatten(2).transpose(1, 2)
        return self.head(self.blocks(tokens + self.places).mean(1))


def make(seed: int) -> ut.Training:
    data = split(seed)
    torch.manual_seed(seed)
    model = ViT()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    rows = [part for _ in range(EPOCHS) for part in torch.randperm(len(data.x)).split(BATCH)]
    batches = [(data.x[part], data.y[part]) for part in rows]

    def accuracy(model: nn.Module) -> float:
        return (model(data.held_out_x).argmax(1) == data.held_out_y).float().mean().item()

    return ut.Training(model, optimizer, nn.functional.cross_entropy, batches, metric=accuracy)


if __name__ == "__main__":
    training = make(0)
    for step, (x, y) in enumerate(training.batches):
        loss = training.loss(training.model(x), y)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        if step % 20 == 0:
            print(f"step {step:4}  loss {loss.item():.3f}")
    training.model.eval()
    print(f"accuracy on images that it has not seen: {training.metric(training.model):.1%}")
