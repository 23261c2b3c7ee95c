"""Laws that map moments over the positions, against the operation itself on real tensors."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut
from undertow.theory.laws import Call, Slot, law_of
from undertow.theory.signal import Delta, Signal, measured


def seen(function: Callable[..., Tensor], x: Tensor, roles: str, *args: Any, **kwargs: Any) -> list[Signal | Delta]:
    """Output and what comes back, as the law says and as they are."""
    y = function(x, *args, **kwargs)
    call = Call(function.__name__, function, (Slot(0), *args), kwargs, (tuple(x.shape),), tuple(y.shape))
    law = law_of(call)
    assert law is not None
    given = measured(x, roles)
    out = law.forward(given)
    assert out.layout.shape == tuple(y.shape)
    leaf = x.clone().requires_grad_()
    fine = out.layout.apart
    cotangent = torch.randn(y.shape)
    function(leaf, *args, **kwargs).backward(cotangent)
    delta = measured(cotangent.reshape(fine.shape), fine.roles)
    (back,) = law.backward(Delta(delta.square, delta.pairs), out, given)
    assert back is not None
    assert leaf.grad is not None
    return [out, measured(y.detach().reshape(fine.shape), fine.roles), back, measured(leaf.grad, roles)]


def tokens() -> Tensor:
    sizes = (1 + torch.arange(6.0))[:, None] * torch.linspace(0.5, 2, 16)[:, None, None]
    return torch.randn(16, 6, 512) * sizes + 1


def image() -> Tensor:
    common = torch.randn(8, 256, 1, 1) + 0.5 * torch.randn(1, 256, 1, 1)
    return torch.randn(8, 256, 7, 7) + common


VIEWS: dict[str, tuple[Callable[[Tensor], Tensor], str, tuple[int, ...]]] = {
    "rows": (lambda t: t.view(96, 512), "SF", (6,)),
    "heads": (lambda t: t.view(16, 6, 8, 64), "SPFF", ()),
    "first": (lambda t: t[:, 0], "SF", ()),
    "last": (lambda t: t[:, -1:], "SPF", ()),
    "some": (lambda t: t[:, 1:4], "SPF", ()),
    "units": (lambda t: t.chunk(2, -1)[1], "SPF", ()),
    "flat": (lambda t: t.flatten(1), "SF", ()),
    "swapped": (lambda t: t.transpose(0, 1), "PSF", ()),
    "backwards": (lambda t: t.flip(1), "SPF", ()),
    "new axis": (lambda t: t.unsqueeze(2), "SPPF", ()),
    "chosen": (lambda t: t[:, [0, 3]], "SPF", ()),
}


@pytest.mark.parametrize("name", VIEWS)
def test_moves_keep_the_map_of_positions(name: str) -> None:
    torch.manual_seed(0)
    function, roles, merged = VIEWS[name]
    function.__name__ = "getitem"
    out, truth, back, returned = seen(function, tokens(), "SPF")
    assert (out.layout.roles, out.layout.merged) == (roles, merged)
    within = 0.2 if name == "units" else 1e-9  # half of the units are not quite as large as all
    assert torch.allclose(out.square.mean(0), truth.square.mean(0), rtol=within)
    # what comes back is known to 1/√values where a position's values went to several of y's
    assert torch.allclose(
        back.square.mean(0).expand_as(returned.square[0]), returned.square.mean(0), rtol=0.1, atol=1e-9
    )


def test_rows_of_tokens_become_tokens_again() -> None:
    x = tokens()
    rows = Call("view", torch.Tensor.view, (Slot(0), 96, 512), {}, ((16, 6, 512),), (96, 512))
    again = Call("view", torch.Tensor.view, (Slot(0), 16, 6, 512), {}, ((96, 512),), (16, 6, 512))
    signal = measured(x, "SPF")
    out = signal
    for call in (rows, again):
        law = law_of(call)
        assert law is not None
        out = law.forward(out)
    assert out.layout == signal.layout
    assert torch.equal(out.square, signal.square)
    assert out.pairs == signal.pairs


POOLS: list[tuple[Callable[..., Tensor], tuple[Any, ...], dict[str, Any]]] = [
    (F.avg_pool2d, (2,), {}),
    (F.avg_pool2d, (3, 2, 1), {}),
    (F.adaptive_avg_pool2d, (3,), {}),
    (F.pad, ((1, 1, 2, 0),), {}),
    (F.pad, ((1, 1, 2, 0), "circular"), {}),
    (F.interpolate, (), {"scale_factor": 2}),
    (F.interpolate, (), {"size": (5, 11), "mode": "bilinear"}),
    (torch.mean, ((2, 3),), {}),
    (torch.mean, ((2,),), {"keepdim": True}),
    (torch.sum, ((2, 3),), {}),
    (F.max_pool2d, (3, 2, 1), {}),
    (torch.amax, ((2, 3),), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), POOLS)
def test_pooling_padding_and_resizing(
    function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    out, truth, back, returned = seen(function, image(), "SFPP", *args, **kwargs)
    assert float(out.square.mean()) == pytest.approx(float(truth.square.mean()), rel=0.03)
    assert float(back.square.mean()) == pytest.approx(float(returned.square.mean()), rel=0.03)
    if truth.layout.positions:
        within = 0.15 if function is F.max_pool2d else 0.1  # windows that overlap have members in common
        assert out.pairs.positions == pytest.approx(truth.pairs.positions, rel=within, abs=0.05)


CONVS: dict[str, Callable[[], nn.Module]] = {
    "zeros": lambda: nn.Conv2d(64, 64, 3, padding=1),
    "stride and groups": lambda: nn.Conv2d(64, 128, 3, stride=2, padding=1, groups=4),
    "depthwise": lambda: nn.Conv2d(64, 64, 7, padding=3, groups=64),
    "dilated": lambda: nn.Conv2d(64, 64, 3, padding=2, dilation=2),
    "reflect": lambda: nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
    "patches": lambda: nn.Conv2d(64, 128, 4, stride=4),
    "same": lambda: nn.Conv2d(64, 64, (3, 5), padding="same"),
    "transposed": lambda: nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
}


@pytest.mark.parametrize("name", CONVS)
def test_convolutions_against_the_module(name: str) -> None:
    forward, backward = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        first, layer = nn.Conv2d(64, 64, 1), CONVS[name]()
        x = torch.randn(4, 64, 8, 8)
        forecast = ut.forecast(nn.Sequential(first, layer), x)
        h = first(x)
        y = layer(h)
        (grad,) = torch.autograd.grad(y, h, torch.randn_like(y))
        forward.append(forecast.sites[-1].forward_rms / y.square().mean().sqrt().item())
        backward.append(forecast.sites[0].backward_rms / grad.square().mean().sqrt().item())
    assert statistics.median(forward) == pytest.approx(1, abs=0.03)
    assert statistics.median(backward) == pytest.approx(1, abs=0.03)


def test_zero_padding_makes_borders_smaller() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(256, 256, 3, padding=1, bias=False)
    x = torch.randn(4, 256, 6, 6)
    flow = ut.forecast(layer, x).flow
    truth = layer(x).detach().double().square().mean((0, 1))
    assert torch.allclose(flow.signals[-1].square.mean(0), truth, rtol=0.1)
    corner, middle = truth[0, 0], truth[3, 3]
    assert corner < 0.6 * middle


@pytest.mark.parametrize("pool", [nn.MaxPool2d, nn.AvgPool2d])
def test_a_small_convolutional_net(pool: type[nn.Module]) -> None:
    """Smooth in one sense only: max pooling hands the gradient to units whose ReLU has a slope."""
    errors = []
    for seed in range(3):
        torch.manual_seed(seed)
        head = nn.Sequential(nn.Flatten(), nn.Linear(128 * 16, 32))
        model = nn.Sequential(nn.Conv2d(3, 64, 5, padding=2), nn.ReLU(), pool(2), nn.Conv2d(64, 128, 3), nn.ReLU())
        model.extend([pool(2), *head])
        x = torch.randn(16, 3, 22, 22)
        sites = {s.site.name: s for s in ut.forecast(model, x).sites}
        h = model[0](x)
        out = model[1:](h)
        (grad,) = torch.autograd.grad(out, h, torch.randn_like(out))
        errors.append(sites["0#0"].backward_rms / grad.square().mean().sqrt().item())
    assert statistics.median(errors) == pytest.approx(1, abs=0.08)


def test_the_class_token_and_the_last_step() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.up = nn.Parameter(torch.randn(1, 1, 128)), nn.Linear(128, 128)

        def forward(self, x: Tensor) -> Tensor:
            y = self.up(x)
            return torch.cat([self.token.expand(x.shape[0], -1, -1), y], 1)[:, 1:5]

    torch.manual_seed(0)
    model, x = Tokens(), torch.randn(32, 8, 128)
    site = ut.forecast(model, x)["up"]
    y = model.up(x)
    taken = torch.cat([model.token.expand(32, -1, -1), y], 1)[:, 1:5]
    (grad,) = torch.autograd.grad(taken, y, torch.randn_like(taken))
    assert site.backward_rms == pytest.approx(grad.square().mean().sqrt().item(), rel=0.03)
