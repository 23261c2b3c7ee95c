"""A character-level GPT on the help texts that ship with Python.

undertow run examples/tiny_gpt.py --steps 300
"""

import argparse
from pydoc_data.topics import topics

import torch
import torch.nn.functional as F
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--layers", type=int, default=4)
parser.add_argument("--compile", action="store_true", help="run it through torch.compile")
options = parser.parse_args()
CONTEXT, HEADS, BATCH = 64, 4, 16


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        heads = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, width // HEADS)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(symbols, options.width), nn.Embedding(CONTEXT, options.width)
        self.blocks = nn.Sequential(*[Block(options.width) for _ in range(options.layers)])
        self.norm, self.head = nn.LayerNorm(options.width), nn.Linear(options.width, symbols, bias=False)
        self.apply(self._start)
        self.head.weight = self.token.weight

    def _start(self, module):
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, indices):
        x = self.token(indices) + self.place(torch.arange(indices.shape[1]))
        return self.head(self.norm(self.blocks(x)))


torch.manual_seed(0)
text = "\n".join(topics.values())
symbols = sorted(set(text))
codes = {symbol: i for i, symbol in enumerate(symbols)}
data = torch.tensor([codes[c] for c in text])
model = GPT(len(symbols))
optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
run = torch.compile(model) if options.compile else model
for step in range(options.steps):
    starts = torch.randint(len(data) - CONTEXT - 1, (BATCH,))
    batch = torch.stack([data[i : i + CONTEXT + 1] for i in starts])
    logits = run(batch[:, :-1])
    loss = F.cross_entropy(logits.reshape(-1, len(symbols)), batch[:, 1:].reshape(-1))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step:4}  loss {loss.item():.3f}")
print(f"last loss {loss.item():.3f}")
