"""Unusual wiring: weights made by other weights, gradients that are not the forward pass's, parts that are locked."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.score.data import accuracy, cross_entropy, digits, fit, he, images, mlp, moons
from benchmarks.score.training import Training, healthy
from torch import Tensor, nn


class Made(nn.Module):
    """The weights of a small net are the output of another, one set for each of four tasks (Ha et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.task = nn.Embedding(4, 8)
        self.maker = mlp([8, 64, 2 * 24 + 24 + 24 * 2 + 2])

    def forward(self, x: Tensor, task: Tensor) -> Tensor:
        weights = self.maker(self.task(task))
        w1, b1, w2, b2 = weights.split([48, 24, 48, 2])
        return F.linear(torch.tanh(F.linear(x, w1.view(24, 2), b1)), w2.view(2, 24), b2)


@healthy(good=0.9)
def made_weights() -> Training:
    """A hypernetwork: the moons, turned by a quarter for each task."""
    data, model, turns = moons(), Made(), torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    centre = data.x.mean(0)

    def turned(x: Tensor, task: int) -> Tensor:
        return (x - centre) @ torch.linalg.matrix_power(turns, task)

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        return sum(F.cross_entropy(m(turned(b[0], k), torch.tensor(k)), b[1]) for k in range(4)) / 4  # type: ignore[return-value]

    def metric(m: nn.Module) -> float:
        with torch.no_grad():
            said = [m(turned(data.x, k), torch.tensor(k)).argmax(1) == data.y for k in range(4)]
        return torch.stack(said).float().mean().item()

    return fit(model, data, loss=loss, metric=metric, lr=3e-3, steps=400)


class Prompted(nn.Module):
    """A frozen transformer on a digit's rows, with four rows before them that are learnt (Lester et al. 2021)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.embed, self.body = nn.Linear(8, width), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, 10)
        self.prompt = nn.Parameter(0.02 * torch.randn(4, width), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.cat([self.prompt.expand(len(x), -1, -1), self.embed(x.view(-1, 8, 8))], 1)
        return self.out(self.body(rows).mean(1))


@healthy(good=0.85)
def prompt_tuning() -> Training:
    """New pixels for a trained transformer of which nothing may move but 128 numbers at its input and the head."""
    data, model = digits(), Prompted()
    fit(model, data, lr=2e-3, steps=150).train()
    model.requires_grad_(False)
    model.prompt.requires_grad_()
    model.out.requires_grad_()
    return fit(model, data._replace(x=data.x * 0.9), lr=1e-2, steps=150)


@healthy(good=0.9)
def biases_only() -> Training:
    """BitFit: a trained network of which the biases alone go on (Ben Zaken et al. 2022)."""
    data, model = digits(), mlp([64, 128, 128, 10], init=he)
    fit(model, data, steps=150).train()
    for name, p in model.named_parameters():
        p.requires_grad_(name.endswith("bias"))
    return fit(model, data._replace(x=data.x + 0.3 * torch.randn(64)), lr=5e-3, steps=200)


class Backwards(torch.autograd.Function):
    """x W on the way there; on the way back a fixed random matrix instead of W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, fixed: Tensor) -> Tensor:
        ctx.save_for_backward(x, fixed)
        return x @ weight.T

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, fixed = ctx.saved_tensors
        return grads[0] @ fixed, grads[0].T @ x, None


class Aligned(nn.Module):
    fixed: Tensor

    def __init__(self, fan_in: int, fan_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / fan_in**0.5)
        self.register_buffer("fixed", torch.randn(fan_out, fan_in) / fan_out**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return Backwards.apply(x, self.weight, self.fixed)  # type: ignore[return-value]


@healthy(good=0.9)
def feedback_alignment() -> Training:
    """The gradient goes back through random weights, and the real ones learn to fit them (Lillicrap et al. 2016)."""
    layers = [Aligned(64, 128), nn.Tanh(), Aligned(128, 128), nn.Tanh(), Aligned(128, 10)]
    return fit(nn.Sequential(*layers), digits(), lr=1e-3, steps=400)


class Local(nn.Module):
    """Each block has its own head and its own loss; nothing goes back from one to the one before."""

    def __init__(self) -> None:
        super().__init__()
        widths = [64, 96, 96, 96]
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(nn.Linear(96, 10) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        said = []
        for block, head in zip(self.blocks, self.heads, strict=True):
            x = block(x.detach())
            said.append(head(x))
        return said if self.training else said[-1]


@healthy(good=0.95)
def local_losses() -> Training:
    """A detach between all blocks, on purpose (Belilovsky et al. 2019)."""

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        return torch.stack([F.cross_entropy(said, b[1]) for said in m(b[0])]).sum()

    return fit(Local(), digits(), loss=loss, steps=300)


class Spike(torch.autograd.Function):
    """A step on the way there, a bump around it on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] / (1 + 10 * x.abs()) ** 2


class Spiking(nn.Module):
    """Units that leak, gather and fire for ten steps; the output is a mean of the last layer's potential."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        a, b = torch.zeros(len(x), 128), torch.zeros(len(x), 128)
        total = torch.zeros(len(x), 10)
        for _ in range(10):
            a = 0.8 * a + self.first(x)
            fired: Tensor = Spike.apply(a - 1)  # type: ignore[assignment]
            a = a - fired.detach()
            b = 0.8 * b + self.second(fired)
            again: Tensor = Spike.apply(b - 1)  # type: ignore[assignment]
            b = b - again.detach()
            total = total + self.out(again) / 10
        return total


@healthy(good=0.93)
def spiking() -> Training:
    """Spikes are 0 nearly always, and their gradient is a surrogate (Neftci et al. 2019)."""
    return fit(Spiking(), digits(), lr=2e-3, steps=250)


class FixedPoint(nn.Module):
    """Twenty steps towards a fixed point without gradients, then one with (Geng et al. 2021)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.inp, self.inner, self.out = nn.Linear(64, width), nn.Linear(width, width), nn.Linear(width, 10)
        with torch.no_grad():
            self.inner.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        drive, h = self.inp(x), torch.zeros(len(x), 64)
        with torch.no_grad():
            for _ in range(20):
                h = torch.tanh(drive + self.inner(h))
        return self.out(torch.tanh(drive + self.inner(h)))


@healthy(good=0.95)
def one_step_gradient() -> Training:
    """An implicit layer: most calls of its weights are under no_grad."""
    return fit(FixedPoint(), digits(), lr=2e-3, steps=250)


class Waved(nn.Module):
    """Complex weights; the size of what comes out is read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64, dtype=torch.complex64)
        self.second = nn.Linear(64, 64, dtype=torch.complex64)
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(torch.fft.fft(x, norm="ortho"))
        h = torch.complex(torch.relu(h.real), torch.relu(h.imag))
        return self.out(self.second(h).abs())


@healthy(good=0.95)
def complex_numbers() -> Training:
    """Complex weights behind a Fourier transform."""
    return fit(Waved(), digits(), steps=250)


@healthy(good=0.9)
def many_at_once() -> Training:
    """Five networks as one, by functional_call under vmap: no module is called as itself."""
    nets = [mlp([64, 48, 10], nn.Tanh) for _ in range(5)]
    stacked, _ = torch.func.stack_module_state(nets)
    skeleton = copy.deepcopy(nets[0])

    class Ensemble(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.ParameterDict({n.replace(".", "_"): nn.Parameter(p.detach()) for n, p in stacked.items()})
            self.names = list(stacked)

        def forward(self, x: Tensor) -> Tensor:
            weights = {n: self.weights[n.replace(".", "_")] for n in self.names}
            said = torch.func.vmap(lambda w: torch.func.functional_call(skeleton, w, (x,)))(weights)
            return said.log_softmax(-1).mean(0)

    return fit(Ensemble(), digits(), loss=lambda m, b: F.nll_loss(m(b[0]), b[1]), lr=3e-3, steps=250)


@healthy(good=0.93)
def flat_slopes_wanted() -> Training:
    """A penalty on the slope of the loss by the input: a backward pass through a backward pass."""

    def loss(m: nn.Module, b: tuple[Tensor, Tensor]) -> Tensor:
        x = b[0].clone().requires_grad_()
        plain = cross_entropy(m, (x, b[1]))
        (slope,) = torch.autograd.grad(plain, x, create_graph=True)
        return plain + 5 * slope.square().sum()

    return fit(mlp([64, 96, 96, 10], nn.Softplus), digits(), loss=loss, metric=accuracy(digits()), lr=2e-3, steps=250)


class Grown(nn.Module):
    """A second half that is faded in from step 100 on: until then nothing calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.later = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.out, self.share = nn.Linear(64, 10), 0.0

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        if self.share:
            h = (1 - self.share) * h + self.share * self.later(h)
        return self.out(F.adaptive_avg_pool2d(h, 2).flatten(1))


@healthy(good=0.85)
def progressive_growing() -> Training:
    """A layer that waits for a third of the run, and is faded in (Karras et al. 2018)."""
    model = Grown()

    def fade(step: int) -> None:
        model.share = min(1.0, max(0.0, (step - 100) / 100))

    return fit(model, images(), lr=5e-3, after=fade, steps=300)
