"""Recurrent layers of torch over all their steps, and their cells for one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from undertow.theory.laws.base import Call, Law, Slot, is_signal, law, mean_square
from undertow.theory.recurrence import GATES, Cell, Course, Start, back, run
from undertow.theory.signal import Delta, Layout, Pairs, Signal

Cells = tuple[tuple[Cell, ...], ...]
"""Per layer, per direction."""


class Sizes(NamedTuple):
    """What arrives at a recurrent layer, so that equal layers are run once."""

    square: tuple[tuple[float, ...], ...]
    """E[x²], groups by steps."""
    common: float
    """E[x_t x_s]"""
    start: Start


class ThroughTime(NamedTuple):
    """The backward value on its way back through a recurrent layer."""

    factor: float
    """rms δh one step earlier over rms δh, for a loss that reads the last step."""
    steps: int

    @property
    def left(self) -> float:
        """rms δh of the first step over that of the last."""
        return self.factor ** (self.steps - 1)


@law("lstm", "gru", "rnn_tanh", "rnn_relu")
@dataclass(frozen=True)
class Recurrent(Law):
    """h_t from x_t and h_{t−1}, layer by layer: units drawn step by step, see `undertow.theory.recurrence`.

    Chen, Pennington, Schoenholz (2018), arXiv:1806.05394; Gilboa et al. (2019), arXiv:1901.08987.
    """

    cells: Cells = field(kw_only=True, repr=False)
    steps: int = field(kw_only=True)
    token: int | None = field(kw_only=True)
    """The axis of the steps; None for a cell, which makes one."""
    dropout: float = 0.0
    output: int = 0
    """0: each step's h; 1: the last h of each layer and direction; 2: the last c."""
    effect = "other"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        x, hx = call.argument(0, "input"), call.argument(1, "hx")
        weights = call.argument(2, "params")
        if not is_signal(x) or not isinstance(weights, list | tuple) or len(call.args) < 9:
            return None  # packed sequences
        layers, dropout, training, both_ways, batch_first = call.args[4:9]
        with_bias, directions = bool(call.args[3]), 2 if both_ways else 1
        each = 4 if with_bias else 2
        if len(weights) != each * layers * directions or not _read_states(hx):
            return None
        groups = [tuple(weights[i : i + each]) for i in range(0, len(weights), each)]
        cells = [_cell(call.operation, *group) for group in groups]
        token = (1 if batch_first else 0) if len(call.given[x.index]) == 3 else 0
        return cls(
            call.shape,
            cells=tuple(tuple(cells[i : i + directions]) for i in range(0, len(cells), directions)),
            steps=call.given[x.index][token],
            token=token,
            dropout=float(dropout) if training else 0.0,
            output=call.output,
        )

    # ------------------------------------------------------------ forward

    def forward(self, *inputs: Signal) -> Signal:
        runs = _runs(self.cells, self._sizes(inputs), self.dropout)
        x, last = inputs[0], runs[-1]
        if self.output:
            ends = [r for layer in runs for r in layer]
            of_end = [r.last_cell if self.output == 2 else float(r.square[:, -1].mean()) for r in ends]
            square = torch.tensor([sum(of_end) / len(of_end)], dtype=torch.float64)
            mean = torch.zeros_like(square) if self.output == 2 else last[0].mean[:, -1].mean().reshape(1)
            return self._made(x, square, mean, Pairs(samples=self._samples(x, float(square.mean()))))
        square = torch.stack([_turned(r.square, bool(way)) for way, r in enumerate(last)]).mean(0)
        mean = torch.stack([_turned(r.mean, bool(way)) for way, r in enumerate(last)]).mean(0)
        samples = self._samples(x, float(square.mean()))
        between = sum(r.positions for r in last) / len(last)
        return self._made(x, square, mean, Pairs(samples, between, min(samples, between)))

    def _made(self, x: Signal, square: Tensor, mean: Tensor, pairs: Pairs) -> Signal:
        roles = self._roles(x.layout.roles)
        places = roles.count("P")
        if self.output or self.token is None or x.layout.roles[self.token] != "P":
            square, mean = (m.reshape(m.shape[0], -1).mean(1).reshape(-1, *[1] * places) for m in (square, mean))
        if self.token is not None and x.layout.roles[self.token] == "S":
            pairs = Pairs(pairs.positions, pairs.samples, pairs.both)
        return Signal(Layout(self.shape, roles), square, mean, pairs, normal=False, spread=x.spread + self._scatter)

    def _roles(self, source: str) -> str:
        if self.token is None or not self.output:
            return source
        return "F" + "".join(r for axis, r in enumerate(source) if axis != self.token)

    @property
    def _scatter(self) -> float:
        return sum(2 / (layer[0].hidden * len(layer)) for layer in self.cells)

    def _samples(self, x: Signal, square: float) -> float:
        """E[h h′] of two samples, as far as their sums are alike: by the inputs that they share, and the biases."""
        cell = self.cells[0][0]
        w_in, w_hidden = (sum(w) / len(w) for w in (cell.w_in, cell.w_hidden))
        bias = sum(mean_square(torch.tensor(b)) for b in (cell.bias_in, cell.bias_hidden))
        shared = cell.inputs * w_in * self._pairs(x).samples + bias
        whole = cell.inputs * w_in * x.size + bias + cell.hidden * w_hidden * square
        alone = whole - cell.hidden * w_hidden * square
        return max(0.0, min(1.0, shared / alone)) * square if alone else 0.0

    def _pairs(self, x: Signal) -> Pairs:
        """Of samples and steps, whichever axis of the input was taken for which."""
        if self.token is not None and x.layout.roles[self.token] == "S":
            return Pairs(x.pairs.positions, x.pairs.samples, x.pairs.both)
        return x.pairs

    def _sizes(self, inputs: tuple[Signal, ...]) -> Sizes:
        x, *states = inputs
        square = x.square.reshape(x.square.shape[0], -1)
        if self.token is None or x.layout.roles[self.token] != "P" or square.shape[1] != self.steps:
            square = square.mean(1, keepdim=True).expand(-1, self.steps)
        start = Start(*(s.size for s in states[:2]))
        return Sizes(tuple(map(tuple, square.tolist())), self._pairs(x).positions, start)

    # ------------------------------------------------------------ backward

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        x, *states = inputs
        runs = _runs(self.cells, self._sizes(inputs), self.dropout)
        size = delta.square.reshape(delta.square.shape[0], -1)
        arrives = size if size.shape[1] == self.steps and not self.output else size.mean(1, keepdim=True)
        if self.output:
            arrives = arrives * 0
        at_end = float(size.mean())
        to_states = torch.zeros(2, dtype=torch.float64)
        between = (
            delta.pairs.samples
            if self.token is not None and x.layout.roles[self.token] == "S"
            else delta.pairs.positions
        )
        alike = _constant(self.steps, between if not self.output else 0.0, at_end)
        for layer in reversed(runs):
            handed, products = [], torch.zeros_like(alike)
            for way, course in enumerate(layer):
                given = _turned(arrives.expand(-1, self.steps), bool(way)).clone()
                given[:, -1] += at_end if self.output == 1 else 0.0
                along = alike.flip(0, 1) if way else alike
                share = back(course, given, along, at_end if self.output == 2 else 0.0)
                handed.append(_turned(share.inputs, bool(way)))
                products = products + (share.products.flip(0, 1) if way else share.products)
                to_states += torch.tensor([share.hidden, share.cell], dtype=torch.float64) / (len(runs) * len(layer))
            keeps = 1 - self.dropout if layer is not runs[0] else 1.0
            arrives, alike = torch.stack(handed).sum(0) / keeps, _correlations(products, 1 / keeps)
        spread = delta.spread + self._scatter
        if x.square.ndim != 2 or self.token is None or x.layout.roles[self.token] != "P":
            arrives = arrives.mean(1).reshape(-1, *[1] * (x.square.ndim - 1))
        back_to = [torch.full_like(s.square, float(q)) for s, q in zip(states, to_states, strict=False)]
        return tuple(Delta(square, spread=spread) for square in (arrives, *back_to))

    def through_time(self, *inputs: Signal) -> ThroughTime:
        """By what rms δh changes a step back, for a loss that reads the last step of the last layer."""
        course = _runs(self.cells, self._sizes(inputs), self.dropout)[-1][0]
        given = torch.zeros(course.square.shape, dtype=torch.float64)
        given[:, -1] = 1.0
        by_step = back(course, given, _constant(self.steps, 0.0, 1.0)).by_step.mean(0)
        left = float((by_step[0] / by_step[-1]).sqrt())
        return ThroughTime(left ** (1 / max(self.steps - 1, 1)), self.steps)


@law("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
@dataclass(frozen=True)
class OneStep(Recurrent):
    """One step of a cell; that its weights are those of the other steps is left out."""

    @classmethod
    def read(cls, call: Call) -> Law | None:
        x, hx, *weights = call.args[:6]
        if not is_signal(x) or any(is_signal(w) for w in weights) or not _read_states(hx):
            return None
        kind = call.operation.removesuffix("_cell")
        output = 0 if call.output == 0 else 2
        return cls(call.shape, cells=((_cell(kind, *weights),),), steps=1, token=None, output=output)


def _read_states(hx: Any) -> bool:
    """States that are zeros, or all signals."""
    states = list(hx) if isinstance(hx, list | tuple) else [hx]
    signals = [s for s in states if isinstance(s, Slot)]
    return not signals or len(signals) == len(states)


def _cell(
    kind: str, w_in: Tensor, w_hidden: Tensor, b_in: Tensor | None = None, b_hidden: Tensor | None = None
) -> Cell:
    gates = GATES[kind]
    hidden = w_hidden.shape[1]
    zeros = torch.zeros(gates * hidden)
    biases = [(zeros if b is None else b).detach().float().reshape(gates, -1).tolist() for b in (b_in, b_hidden)]
    return Cell(
        kind,
        w_in.shape[1],
        hidden,
        tuple(mean_square(w) for w in w_in.chunk(gates)),
        tuple(mean_square(w) for w in w_hidden.chunk(gates)),
        *(tuple(map(tuple, b)) for b in biases),  # pyright: ignore[reportArgumentType]
    )


@lru_cache(maxsize=8)
def _runs(cells: Cells, sizes: Sizes, dropout: float) -> tuple[tuple[Course, ...], ...]:
    """Per layer, per direction; the second direction's steps in its own order."""
    square = torch.tensor(sizes.square, dtype=torch.float64)
    steps = square.shape[1]
    alike = _constant(steps, sizes.common, float(square.mean()))
    found = []
    for depth, layer in enumerate(cells):
        ways = (False, True)[: len(layer)]
        found.append(
            tuple(
                run(cell, _turned(square, way), alike.flip(0, 1) if way else alike, sizes.start)
                for cell, way in zip(layer, ways, strict=True)
            )
        )
        keeps = 1 - dropout if depth < len(cells) - 1 else 1.0
        square = torch.stack([_turned(c.square, way) for c, way in zip(found[-1], ways, strict=True)]).mean(0) / keeps
        products = [c.products.flip(0, 1) if way else c.products for c, way in zip(found[-1], ways, strict=True)]
        alike = _correlations(torch.stack(products).mean(0), 1 / keeps)
    return tuple(found)


def _constant(steps: int, common: float, square: float) -> Tensor:
    """Correlations of steps that are all alike."""
    same = max(0.0, min(common / square, 1.0)) if square else 0.0
    return torch.full((steps, steps), same, dtype=torch.float64).fill_diagonal_(1.0)


def _turned(x: Tensor, way: bool) -> Tensor:
    return x.flip(1) if way else x


def _correlations(products: Tensor, grown: float) -> Tensor:
    """Of the steps; dropout makes their squares larger, their products not."""
    size = products.diagonal().clamp(min=1e-30).sqrt()
    return (products / (size * size.unsqueeze(1) * grown)).fill_diagonal_(1.0)
