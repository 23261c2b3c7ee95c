"""The fused recurrent layers, computed step by step from their own weights, so that each gate of each step is a site.

The sites of a layer `lstm` are `lstm.t12.forget_gate`, `lstm.t12.cell`, `lstm.t12.hidden` and so on; with several
layers `lstm.l1.t12.…`, and `lstm.l1.reverse.t12.…` for the other direction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves

State = tuple[Tensor, ...]
"""Hidden state, and for an LSTM the cell."""


class Part(nn.Module):
    """One operation under a name of its own."""

    def forward(self, function: Callable[..., Tensor], *operands: Any) -> Tensor:
        return function(*operands)


class Moment(nn.Module):
    """The parts of one time step, made when they are first asked for."""

    def __getitem__(self, name: str) -> nn.Module:
        return self.part(name, nn.Sigmoid if name.endswith("gate") else KINDS.get(name, Part))

    def part(self, name: str, kind: type[nn.Module]) -> nn.Module:
        if name not in self._modules:
            self.add_module(name, kind())
        return self.get_submodule(name)


class Plain:
    """A time step of which no part is looked at."""

    def __getitem__(self, name: str) -> Callable[..., Tensor]:
        return self.part(name, nn.Sigmoid if name.endswith("gate") else KINDS.get(name, Part))

    def part(self, name: str, kind: type[nn.Module]) -> Callable[..., Tensor]:
        return FUNCTIONS.get(kind, _applied)


def _applied(function: Callable[..., Tensor], *operands: Any) -> Tensor:
    return function(*operands)


KINDS: dict[str, type[nn.Module]] = {"candidate": nn.Tanh, "cell_tanh": nn.Tanh}
FUNCTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Sigmoid: torch.sigmoid,
    nn.Tanh: torch.tanh,
    nn.ReLU: torch.relu,
}


class Listener(Protocol):
    """Is told of the states of one layer and direction (`way`) as they are passed on through time."""

    def taken(self, way: tuple[int, int], time: int, state: State) -> State:
        """What the step at this time takes for the state that the step before it has made."""
        ...

    def made(self, way: tuple[int, int], time: int, state: State) -> None:
        """The state that the step at this time has made."""
        ...


class Weights:
    """The weights of one layer and direction, by their names in the fused layer."""

    def __init__(self, layer: nn.Module, suffix: str) -> None:
        self._layer, self._suffix = layer, suffix

    def __getitem__(self, name: str) -> Tensor | None:
        return getattr(self._layer, name + self._suffix, None)


def rnn(at: Moment | Plain, w: Weights, x: Tensor, state: State, nonlinearity: str) -> State:
    """h = f(W_ih x + b_ih + W_hh h + b_hh), f = tanh or ReLU."""
    total = at["sum"](torch.add, *_both(at, w, x, state[0]))
    return (at.part("hidden", nn.Tanh if nonlinearity == "tanh" else nn.ReLU)(total),)


def lstm(at: Moment | Plain, w: Weights, x: Tensor, state: State, empty: bool) -> State:
    """i, f, o = σ(…), g = tanh(…);  c = f c + i g;  h = o tanh(c), or W_hr of it.

    In an `empty` state there is nothing to forget: that gate has no gradient, and no site.
    """
    i, f, g, o = at["sum"](torch.add, *_both(at, w, x, state[0])).chunk(4, -1)
    i, o = at["input_gate"](i), at["output_gate"](o)
    cell = at["new"](torch.mul, i, at["candidate"](g))
    if not empty:
        cell = at["cell"](torch.add, at["kept"](torch.mul, at["forget_gate"](f), state[1]), cell)
    hidden = at["hidden"](torch.mul, o, at["cell_tanh"](cell))
    if w["weight_hr"] is not None:
        hidden = at["projection"](F.linear, hidden, w["weight_hr"])
    return hidden, cell


def gru(at: Moment | Plain, w: Weights, x: Tensor, state: State) -> State:
    """r, z = σ(…), n = tanh(W_in x + b_in + r (W_hn h + b_hn));  h = (1 - z) n + z h."""
    given, recurrent = _both(at, w, x, state[0])
    (xr, xz, xn), (hr, hz, hn) = given.chunk(3, -1), recurrent.chunk(3, -1)
    r, z = at["reset_gate"](xr + hr), at["update_gate"](xz + hz)
    n = at["candidate"](at["sum"](torch.add, xn, at["reset"](torch.mul, r, hn)))
    kept, new = at["kept"](torch.mul, z, state[0]), at["new"](torch.mul, 1 - z, n)
    return (at["hidden"](torch.add, new, kept),)


def _both(at: Moment | Plain, w: Weights, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    return (
        at["input"](F.linear, x, w["weight_ih"], w["bias_ih"]),
        at["recurrent"](F.linear, hidden, w["weight_hh"], w["bias_hh"]),
    )


class Stepwise(nn.RNNBase):
    """What a fused layer of a replica becomes: the same module with another forward pass.

    Dropout between the layers is drawn anew; all else equals the fused layer to rounding.
    """

    def forward(self, input: Any, hx: Any = None) -> Any:
        output = self.stepwise(input, hx)
        self.difference = max(self.difference, self._difference(output, input, hx))
        return output

    listener: Listener | None = None
    """Where there is one, the steps have no sites."""
    difference = 0.0
    """The largest deviation from the fused layer so far, over the largest value; 0 where dropout tells them apart."""

    def _difference(self, output: Any, input: Any, hx: Any) -> float:
        if self.dropout and self.training and self.num_layers > 1:
            return 0.0
        fuse(self)
        try:
            with torch.no_grad(), torch._C.DisableTorchFunction():
                return difference(output, self.forward(input, hx))
        finally:
            unroll(self)

    def stepwise(self, input: Any, hx: Any) -> Any:
        """The forward pass, not held against the fused one."""
        packed, batched = None, True
        if isinstance(input, PackedSequence):
            packed, steps = input, list(input.data.split(input.batch_sizes.tolist()))
        else:
            batched = input.dim() == 3
            x = input if batched else input.unsqueeze(0 if self.batch_first else 1)
            steps = list((x.transpose(0, 1) if self.batch_first else x).unbind(0))
        states = self._states(hx, steps[0], batched, packed)
        final: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                steps = [F.dropout(s, self.dropout) for s in steps]
            ways = [self._way(layer, d, steps, states, hx is None) for d in range(1 + self.bidirectional)]
            final += [last for _, last in ways]
            steps = [torch.cat(s, -1) for s in zip(*(out for out, _ in ways), strict=True)]
        ends = [torch.stack(part) for part in zip(*final, strict=True)]
        return self._like_fused(steps, ends, batched, packed)

    def _states(self, hx: Any, first: Tensor, batched: bool, packed: PackedSequence | None) -> list[Tensor]:
        """Per part of the state, what it starts from: (layers · directions, batch, size)."""
        sizes = [self.proj_size or self.hidden_size] + [self.hidden_size] * (self.mode == "LSTM")
        if hx is None:
            ways = self.num_layers * (1 + self.bidirectional)
            return [first.new_zeros(ways, len(first), size) for size in sizes]
        states = list(hx) if isinstance(hx, tuple) else [hx]
        if packed is not None and packed.sorted_indices is not None:
            return [s.index_select(1, packed.sorted_indices) for s in states]
        return states if batched else [s.unsqueeze(1) for s in states]

    def _way(
        self, layer: int, reverse: int, steps: list[Tensor], states: list[Tensor], empty: bool
    ) -> tuple[list[Tensor], State]:
        """One layer in one direction over sequences that end at different times, the longest first."""
        weights = Weights(self, f"_l{layer}{'_reverse' * reverse}")
        start = tuple(s[layer * (1 + self.bidirectional) + reverse] for s in states)
        state = tuple(s[: len(steps[-1 if reverse else 0])] for s in start)
        outputs: dict[int, Tensor] = {}
        ended: list[State] = []
        for t in range(len(steps))[:: -1 if reverse else 1]:
            size, have = len(steps[t]), len(state[0])
            if size < have:  # some sequences have ended
                ended.append(tuple(s[size:] for s in state))
                state = tuple(s[:size] for s in state)
            elif size > have:  # backwards, they begin at their own end
                state = tuple(torch.cat((s, s0[have:size])) for s, s0 in zip(state, start, strict=True))
            first, listener = not outputs, self.listener
            if listener is not None and not first:
                state = listener.taken((layer, reverse), t, state)
            state = self._step(self._moment(layer, reverse, t), weights, steps[t], state, empty and first)
            if listener is not None:
                listener.made((layer, reverse), t, state)
            outputs[t] = state[0]
        last = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True)) if ended else state
        return [outputs[t] for t in range(len(steps))], last

    def _step(self, at: Moment | Plain, weights: Weights, x: Tensor, state: State, empty: bool) -> State:
        if self.mode == "LSTM":
            return lstm(at, weights, x, state, empty)
        if self.mode == "GRU":
            return gru(at, weights, x, state)
        return rnn(at, weights, x, state, "tanh" if self.mode == "RNN_TANH" else "relu")

    def _moment(self, layer: int, reverse: int, t: int) -> Moment | Plain:
        if self.listener is not None:
            return Plain()
        path = ([f"l{layer}"] if self.num_layers > 1 else []) + ["reverse"] * reverse + [f"t{t}"]
        parent: nn.Module = self
        for name in path:
            if name not in parent._modules:
                parent.add_module(name, Moment())
            parent = parent.get_submodule(name)
        assert isinstance(parent, Moment)
        return parent

    def _like_fused(self, steps: list[Tensor], ends: list[Tensor], batched: bool, packed: PackedSequence | None) -> Any:
        if packed is not None:
            output: Any = packed._replace(data=torch.cat(steps))
            if packed.unsorted_indices is not None:
                ends = [e.index_select(1, packed.unsorted_indices) for e in ends]
        else:
            output = torch.stack(steps, 1 if self.batch_first else 0)
            if not batched:
                output = output.squeeze(0 if self.batch_first else 1)
                ends = [e.squeeze(1) for e in ends]
        return output, tuple(ends) if self.mode == "LSTM" else ends[0]


class StepwiseCell(nn.RNNCellBase):
    """A fused cell of a replica; its sites are `cell.step.forget_gate` with the call as their index."""

    step: Moment

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        chunks = len(self.weight_ih) // self.hidden_size
        empty = hx is None
        if hx is None:
            zeros = input.new_zeros(*input.shape[:-1], self.hidden_size)
            hx = (zeros, zeros) if chunks == 4 else zeros
        if "step" not in self._modules:
            self.step = Moment()
        weights = Weights(self, "")
        if chunks == 4:
            return lstm(self.step, weights, input, tuple(hx), empty)
        if chunks == 3:
            return gru(self.step, weights, input, (hx,))[0]
        return rnn(self.step, weights, input, (hx,), str(self.nonlinearity))[0]


def difference(output: Any, expected: Any) -> float:
    """max |a - b| / max |b| over the tensors of two results."""
    pairs = zip(_tensors(output), _tensors(expected), strict=True)
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item() for a, b in pairs if b.numel())


def tolerance(dtype: torch.dtype) -> float:
    """How far two orders of the same sums may lie apart.  Origin: empirical, for sums of some hundred terms."""
    return 64 * torch.finfo(dtype).eps


def _tensors(output: Any) -> list[Tensor]:
    return [t for t in tree_leaves(output) if isinstance(t, Tensor) and t.is_floating_point()]


def unroll(module: nn.Module) -> None:
    """Lets a fused recurrent layer or cell of a replica run step by step; leaves any other module as it is."""
    if type(module) in (nn.RNN, nn.LSTM, nn.GRU):
        module.__class__ = Stepwise
    elif type(module) in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
        module.__class__ = StepwiseCell


def fuse(layer: nn.RNNBase) -> None:
    """Takes `unroll` back."""
    layer.__class__ = {"LSTM": nn.LSTM, "GRU": nn.GRU}.get(layer.mode, nn.RNN)
