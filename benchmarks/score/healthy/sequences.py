"""Text, rows of pixels and waves: recurrent nets, attention, padding, memory cut on purpose."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from benchmarks.score.data import LETTERS, Data, accuracy, digits, fit, next_letter, text
from benchmarks.score.healthy.rates import scheduled
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


def rows() -> Data:
    data = digits()
    return data._replace(x=data.x.view(-1, 8, 8))


class Letters(nn.Module):
    """A causal transformer whose head is its embedding."""

    def __init__(self, width: int = 48, layers: int = 2, length: int = 32, norm_first: bool = True) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(LETTERS, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=norm_first)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, LETTERS, bias=False)
        self.head.weight = self.embed.weight
        nn.init.normal_(self.embed.weight, 0, 0.02)
        nn.init.normal_(self.place.weight, 0, 0.02)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        mask = self.get_buffer("mask")[:n, :n]
        h = self.embed(x) + self.place(torch.arange(n))
        return self.head(self.norm(self.body(h, mask=mask, is_causal=True)))


@healthy(good=0.22)
def tied_transformer() -> Training:
    """A character model with tied embeddings of N(0, 0.02)."""
    return fit(Letters(), text(), loss=next_letter, lr=3e-3, steps=120, batch=32)


@healthy(good=0.22)
def post_norm_with_warm_up() -> Training:
    """LayerNorm after each part, as in 2017, with a warm-up."""
    training = fit(Letters(norm_first=False), text(), loss=next_letter, lr=3e-3, steps=150, batch=32)
    return scheduled(training, lambda k: min((k + 1) / 50, 1.0))


@healthy(good=0.22)
def growing_length() -> Training:
    """Sequences of 8 letters, then 16, then 32."""
    training = fit(Letters(), text(), loss=next_letter, lr=3e-3, steps=150, batch=32)
    lengths = [8] * 50 + [16] * 50 + [32] * 50
    training.batches = [(x[:, :n], y[:, :n]) for (x, y), n in zip(training.batches, lengths, strict=True)]
    return training


class Recurrent(nn.Module):
    """Keeps its state from batch to batch, cut off from the graph."""

    state: tuple[Tensor, Tensor] | None = None

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(LETTERS, 32), nn.LSTM(32, width, 2, batch_first=True)
        self.head = nn.Linear(width, LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.state if self.training else None
        h, state = self.rnn(self.embed(x), kept)
        if self.training:
            self.state = (state[0].detach(), state[1].detach())
        return self.head(h)


@healthy(good=0.3)
def truncated_in_time() -> Training:
    """Two LSTM layers on text, with the state handed on and detached."""
    return fit(Recurrent(), text(), loss=next_letter, lr=1e-2, steps=150, batch=32, clip=1.0)


class Rows(nn.Module):
    def __init__(self, kind: Callable[..., nn.RNNBase], hidden: int = 48, both: bool = False, layers: int = 1) -> None:
        super().__init__()
        self.rnn = kind(8, hidden, layers, batch_first=True, bidirectional=both)
        self.out = nn.Linear(hidden * (2 if both else 1), 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


@healthy(good=0.93)
def gru_on_rows() -> Training:
    """A digit as eight rows, the class from the last state."""
    return fit(Rows(nn.GRU), rows(), lr=5e-3, steps=250)


@healthy(good=0.93)
def stacked_both_ways() -> Training:
    """A bidirectional LSTM of two layers: the backward half of the last state has seen one row only."""
    return fit(Rows(nn.LSTM, both=True, layers=2), rows(), lr=5e-3, steps=250)


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(LETTERS + 1, 16, padding_idx=LETTERS), nn.GRU(16, 32, batch_first=True)
        self.out = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        lengths = (x != LETTERS).sum(1)
        packed = pack_padded_sequence(self.embed(x), lengths, batch_first=True, enforce_sorted=False)
        return self.out(self.rnn(packed)[1][-1])


@healthy(good=0.9)
def packed_and_padded() -> Training:
    """Words of 3 to 30 letters, packed; the padding's row has no gradient. Is there an `e` near the end?"""
    whole = text(30)
    length = torch.randint(3, 31, (len(whole.x),))
    place = torch.arange(30)
    x = torch.where(place < length[:, None], whole.x, LETTERS)
    near_end = (place < length[:, None]) & (place >= length[:, None] - 3)
    common = int(whole.x.flatten().mode().values)
    y = ((whole.x == common) & near_end).any(1).long()
    return fit(Padded(), Data(x, y, 2), lr=1e-2, steps=250)


class FirstToken(nn.Module):
    """A digit as eight tokens behind a learnt one, from which alone the class is read."""

    def __init__(self, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.embed, self.token = nn.Linear(8, width), nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(torch.randn(9, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], 1) + self.place
        return self.out(self.body(h)[:, 0])


@healthy(good=0.93)
def class_token() -> Training:
    """The outputs of the other tokens are not used: no gradient at most places of the last layer."""
    return fit(FirstToken(), rows(), lr=2e-3, steps=250)


class SharpAttention(nn.Module):
    """Queries and keys of length one, times twenty: a softmax that is nearly one-hot, and made to be."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(8, width))
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place
        q, k = F.normalize(self.q(h), dim=-1), F.normalize(self.k(h), dim=-1)
        mixed = (20 * q @ k.transpose(1, 2)).softmax(-1) @ self.v(h)
        return self.out((h + mixed).mean(1))


@healthy(good=0.9)
def sharp_attention() -> Training:
    """QK-normalised attention at a low temperature."""
    return fit(SharpAttention(), rows(), lr=3e-3, steps=300)


class Translator(nn.Module):
    """Says a sequence backwards: a GRU reads it, another writes with attention, fed with the truth."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.embed = nn.Embedding(LETTERS + 1, width)
        self.reader, self.writer = (nn.GRU(width, width, batch_first=True) for _ in range(2))
        self.out = nn.Linear(2 * width, LETTERS)

    def forward(self, x: Tensor) -> Tensor:
        read, state = self.reader(self.embed(x))
        start = torch.full_like(x[:, :1], LETTERS)
        written, _ = self.writer(self.embed(torch.cat([start, x.flip(1)[:, :-1]], 1)), state)
        weights = (written @ read.transpose(1, 2) / 7).softmax(-1)
        return self.out(torch.cat([written, weights @ read], -1))


@healthy(good=0.8)
def reader_and_writer() -> Training:
    """Sequence to sequence: eight letters, backwards."""
    data = text(8)
    data = data._replace(y=data.x.flip(1))
    return fit(Translator(), data, loss=next_letter, lr=1e-2, steps=300, metric=accuracy(data))


class Causal(nn.Module):
    """Dilated convolutions that look back 1, 2, 4 and 8 letters, gated as in WaveNet."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(LETTERS, width), nn.Linear(width, LETTERS)
        self.convs = nn.ModuleList(nn.Conv1d(width, 2 * width, 2, dilation=2**i) for i in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x).transpose(1, 2)
        for conv in self.convs:
            a, b = conv(F.pad(h, (int(conv.dilation[0]), 0))).chunk(2, 1)  # type: ignore[index]
            h = h + torch.tanh(a) * torch.sigmoid(b)
        return self.out(h.transpose(1, 2))


@healthy(good=0.3)
def gated_convolutions() -> Training:
    """tanh × sigmoid in every layer."""
    return fit(Causal(), text(), loss=next_letter, lr=5e-3, steps=150, batch=32)


class StateSpace(nn.Module):
    """h[t] = a · h[t-1] + B x[t] with a = sigmoid of a number of its own for each channel, written as a loop."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.decay = nn.Parameter(torch.linspace(-2, 4, width))
        self.inp, self.out = nn.Linear(8, width), nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        a, h = torch.sigmoid(self.decay), torch.zeros(len(x), len(self.decay))
        for t in range(x.shape[1]):
            h = a * h + self.inp(x[:, t])
        return self.out(h)


@healthy(good=0.93)
def state_space() -> Training:
    """A linear recurrence: fast channels forget within a step, and are meant to."""
    return fit(StateSpace(), rows(), lr=5e-3, steps=300)


class Forecaster(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.RNN(1, 32, batch_first=True), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.rnn(x)[0][:, -1])


@healthy(good=0.9)
def wave() -> Training:
    """The next value of a sine of forty values: two of them would do, so a short memory is all it takes."""
    start, speed = 6.28 * torch.rand(1000, 1), 0.2 + 0.3 * torch.rand(1000, 1)
    wave = torch.sin(start + speed * torch.arange(41))
    return fit(Forecaster(), Data(wave[:, :40, None], wave[:, 40], 1), lr=3e-3, steps=250)
