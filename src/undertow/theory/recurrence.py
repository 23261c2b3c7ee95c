"""Units of a recurrent layer through time: many of them drawn, each with gates of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
DRAWS = 1 << 20
"""Units drawn, over groups and steps: sizes come out within about 1 %.  Our choice."""
JITTER = 1e-6
"""On the diagonal of a correlation, so that one of equal inputs has a root.  Our choice."""


@dataclass(frozen=True)
class Cell:
    """One layer in one direction: per gate E[w²] of both matrices and the biases as they are."""

    kind: str
    inputs: int
    hidden: int
    w_in: tuple[float, ...]
    w_hidden: tuple[float, ...]
    bias_in: tuple[tuple[float, ...], ...]
    bias_hidden: tuple[tuple[float, ...], ...]


class Start(NamedTuple):
    """E[h²] and E[c²] of the state before the first step."""

    hidden: float = 0.0
    cell: float = 0.0


ZERO = Start()


class Step(NamedTuple):
    """What the backward pass needs of a step; each of shape (groups, units)."""

    slopes: tuple[Tensor, ...]
    keeps: Tensor
    """∂(state)/∂(state before it), on the way without weights: the forget gate, the update gate."""
    opens: Tensor
    """LSTM: ∂h/∂c."""


class Course(NamedTuple):
    """What the units do over the steps; of shape (groups, steps) where not said otherwise."""

    cell: Cell
    square: Tensor
    mean: Tensor
    products: Tensor
    """E[h_t h_s], the mean over groups, shape (steps, steps)."""
    last_cell: float
    """E[c²] after the last step."""
    steps: tuple[Step, ...]

    @property
    def positions(self) -> float:
        """E[h_t h_s], the mean over pairs of steps."""
        n = len(self.products)
        return float(self.products.sum() - self.products.trace()) / (n * (n - 1)) if n > 1 else 0.0


class Handed(NamedTuple):
    inputs: Tensor
    """E[δx²], shape (groups, steps)."""
    products: Tensor
    """E[δx_t δx_s], the mean over groups, shape (steps, steps)."""
    hidden: float
    """E[δh²] of the state before the first step."""
    cell: float
    by_step: Tensor
    """E[δh²], shape (groups, steps)."""


def run(cell: Cell, x: Tensor, alike: Tensor, start: Start = ZERO) -> Course:
    """The layer's steps for inputs of mean square x, shape (groups, steps), correlated over the steps as `alike` says.

    Each gate's sum is normal, of variance n E[w²] E[x²] + H E[w²] E[h²], beside its bias: weights that are the same at
    all steps act as if they were new ones, Chen, Pennington, Schoenholz (2018), arXiv:1806.05394; Gilboa et al. (2019),
    arXiv:1901.08987.  What the state adds at neighbouring steps keeps its correlation; c is what the gates make of it.
    """
    groups, length = x.shape
    gates, units = GATES[cell.kind], max(256, min(8192, DRAWS // (groups * length)))
    generator = torch.Generator().manual_seed(0)
    w_in, w_hidden = (torch.tensor(w).reshape(-1, 1, 1).sqrt() for w in (cell.w_in, cell.w_hidden))
    b_in, b_hidden = (_tiled(b, units) for b in (cell.bias_in, cell.bias_hidden))
    of_inputs = w_in.unsqueeze(-1) * _correlated(cell.inputs * x, alike, (gates, groups, units), generator)
    h, c = (math.sqrt(q) * torch.randn(groups, units, generator=generator) for q in start)
    before, recurrent = torch.zeros(groups, units), torch.zeros(gates, groups, units)
    steps, states = [], []
    for t in range(length):
        fresh = torch.randn(gates, groups, units, generator=generator)
        recurrent = _next(recurrent, h, before, w_hidden * math.sqrt(cell.hidden), fresh)
        before = h
        h, c, step = STEPS[cell.kind](of_inputs[..., t] + b_in, recurrent + b_hidden, h, c)
        steps.append(step)
        states.append(h)
    course = torch.stack(states, -1)
    products = torch.einsum("gut,gus->ts", course, course).double() / (groups * units)
    square, mean = course.square().mean(1).double(), course.mean(1).double()
    return Course(cell, square, mean, products, float(c.double().square().mean()), tuple(steps))


def back(course: Course, delta: Tensor, alike: Tensor, cell_delta: float = 0.0) -> Handed:
    """From E[δh²] that each step's output gets, shape (groups, steps), what the inputs and the first state get.

    `alike` are the correlations of δ over the steps; what comes back by the state's weights is new at each step.
    """
    cell, (groups, length) = course.cell, course.square.shape
    w_in, w_hidden = (torch.tensor(w).reshape(-1, 1, 1) * cell.hidden for w in (cell.w_in, cell.w_hidden))
    units = course.steps[0].keeps.shape[1]
    generator = torch.Generator().manual_seed(1)
    given = _correlated(delta.expand(groups, length), alike, (groups, units), generator)
    held = math.sqrt(cell_delta) * torch.randn(groups, units, generator=generator)
    by_weights = torch.zeros(groups, 1)
    of_gates, sizes = [], []
    for t in range(length - 1, -1, -1):
        arrives = given[..., t] + by_weights.sqrt() * torch.randn(groups, units, generator=generator)
        to_inputs, to_hidden, of_state, held = BACK[cell.kind](course.steps[t], arrives, held)
        by_weights = (w_hidden * to_hidden.square().mean(-1, keepdim=True)).sum(0)
        of_gates.append(to_inputs * w_in.sqrt())
        sizes.append(of_state.square().mean(1).double())
    sums = torch.stack(of_gates[::-1], -1)  # (gates, groups, units, steps)
    products = torch.einsum("agut,agus->ts", sums, sums).double() / (groups * units)
    inputs = sums.square().mean(2).sum(0).double()
    kept = float(held.double().square().mean())
    first = float(by_weights.mean()) + (kept if cell.kind == "gru" else 0.0)
    return Handed(inputs, products, first, kept if cell.kind == "lstm" else 0.0, torch.stack(sizes[::-1], 1))


def _correlated(square: Tensor, alike: Tensor, sizes: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Normal draws of this mean square (groups, steps), correlated over the steps."""
    root = torch.linalg.cholesky_ex(alike + JITTER * torch.eye(len(alike), dtype=alike.dtype))[0].float()
    return (torch.randn(*sizes, len(alike), generator=generator) @ root.T) * square.clamp(
        min=0
    ).float().sqrt().unsqueeze(1)


def _tiled(bias: tuple[tuple[float, ...], ...], units: int) -> Tensor:
    """(gates, 1, units): the biases of real units, over and over."""
    b = torch.tensor(bias)
    return b.repeat(1, -(-units // b.shape[1]))[:, :units].unsqueeze(1)


def _next(recurrent: Tensor, h: Tensor, before: Tensor, weight: Tensor, fresh: Tensor) -> Tensor:
    """W h of this step, correlated with that of the step before as h is."""
    size, earlier = h.square().mean(1, keepdim=True), before.square().mean(1, keepdim=True)
    slope = torch.where(earlier > 0, (h * before).mean(1, keepdim=True) / earlier.clamp(min=1e-30), 0.0)
    left = (size - slope.square() * earlier).clamp(min=0)
    return slope * recurrent + weight * left.sqrt() * fresh


# ------------------------------------------------------------ the cells


def _tanh(u: Tensor, r: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Step]:
    y = torch.tanh(u[0] + r[0])
    return y, c, Step((1 - y * y,), y, y)


def _relu(u: Tensor, r: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Step]:
    y = torch.relu(u[0] + r[0])
    return y, c, Step(((y > 0).float(),), y, y)


def _lstm(u: Tensor, r: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Step]:
    i, f, o = (torch.sigmoid(u[g] + r[g]) for g in (0, 1, 3))
    g = torch.tanh(u[2] + r[2])
    new = f * c + i * g
    y = torch.tanh(new)
    slopes = (g * i * (1 - i), c * f * (1 - f), i * (1 - g * g), y * o * (1 - o))
    return o * y, new, Step(slopes, f, o * (1 - y * y))


def _gru(u: Tensor, r: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Step]:
    reset, update = torch.sigmoid(u[0] + r[0]), torch.sigmoid(u[1] + r[1])
    n = torch.tanh(u[2] + reset * r[2])
    to_n = (1 - update) * (1 - n * n)
    slopes = (to_n * r[2] * reset * (1 - reset), (h - n) * update * (1 - update), to_n)
    return (1 - update) * n + update * h, c, Step(slopes, update, reset)


STEPS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Step]]] = {
    "rnn_tanh": _tanh,
    "rnn_relu": _relu,
    "lstm": _lstm,
    "gru": _gru,
}
Back = tuple[Tensor, Tensor, Tensor, Tensor]
"""δ of the gates' sums as the input's weights see them, as the state's do, of h, and what each unit holds."""


def _plain_back(step: Step, arrives: Tensor, held: Tensor) -> Back:
    of_gates = arrives * step.slopes[0].unsqueeze(0)
    return of_gates, of_gates, arrives, held


def _lstm_back(step: Step, arrives: Tensor, held: Tensor) -> Back:
    of_cell = held + arrives * step.opens
    i, f, g, o = step.slopes
    of_gates = torch.stack([of_cell * i, of_cell * f, of_cell * g, arrives * o])
    return of_gates, of_gates, arrives, of_cell * step.keeps


def _gru_back(step: Step, arrives: Tensor, held: Tensor) -> Back:
    whole = arrives + held
    of_gates = torch.stack([whole * s for s in step.slopes])
    return of_gates, torch.stack([*of_gates[:2], of_gates[2] * step.opens]), whole, whole * step.keeps


BACK: dict[str, Callable[[Step, Tensor, Tensor], Back]] = {
    "rnn_tanh": _plain_back,
    "rnn_relu": _plain_back,
    "lstm": _lstm_back,
    "gru": _gru_back,
}
