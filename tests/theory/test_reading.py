"""A forecast reads any model that runs, and leaves it as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import undertow as ut
from undertow.foundation import InputError, ModelError
from undertow.theory import reading
from undertow.theory.reading import read


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.BatchNorm1d(32), nn.Dropout(0.1), nn.Linear(32, 4))


@pytest.fixture(autouse=True)
def only_without_values(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours in the pass without values would go unseen: the pass on values mends it."""
    if "on_values" not in request.fixturenames and "error" not in request.fixturenames:
        expected = {"branch", "item"} & {str(request.node.callspec.params.get("name"))} if _has(request) else set()
        if not expected:
            monkeypatch.setattr(reading, "_on_values", _refused)


def _has(request: pytest.FixtureRequest) -> bool:
    return hasattr(request.node, "callspec")


def _refused(*_: Any) -> Any:
    raise AssertionError("the model was read on values")


class Called(nn.Module):
    """The forward pass is a function that the test gives."""

    def __init__(self, run: Callable[[Called, Any], Any]) -> None:
        super().__init__()
        self.run = run
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)
        self.counter, self.cache = 0, None

    def forward(self, x: Any, **more: Any) -> Any:
        return self.run(self, x, **more)


def by_name(model: nn.Module, x: Any) -> dict[str, ut.theory.forecast.SiteForecast]:
    return {s.site.name: s for s in ut.forecast(model, x).sites}


FORWARD: dict[str, Callable[..., Any]] = {
    "functional": lambda m, x: m.down(F.relu(m.up(x))),
    "branch": lambda m, x: m.down(torch.tanh(m.up(x))) if x.sum() > -1e9 else x,
    "item": lambda m, x: m.down(torch.tanh(m.up(x))) * float(x.abs().max().item() > 0),
    "in place": lambda m, x: m.down(F.relu(m.up(x), inplace=True).mul_(0.5)),
    "no grad inside": lambda m, x: m.down(torch.tanh(m.up(x)) + m.up(x).detach().norm()),
    "checkpoint": lambda m, x: m.down(checkpoint(lambda y: torch.tanh(m.up(y)), x, use_reentrant=False)),
    "old checkpoint": lambda m, x: m.down(checkpoint(lambda y: torch.tanh(m.up(y)), x, use_reentrant=True)),
    "dict out": lambda m, x: {"logits": m.down(torch.tanh(m.up(x)))},
    "tuple out": lambda m, x: (m.down(torch.tanh(m.up(x))), None),
    "weights by hand": lambda m, x: torch.tanh(m.up(x) @ m.up.weight) @ m.up.weight.T @ m.down.weight.T,
    "einsum": lambda m, x: torch.einsum("bi,oi->bo", torch.tanh(m.up(x)), m.down.weight),
    "chunks": lambda m, x: m.down(torch.cat([c.tanh() for c in m.up(x).chunk(2, -1)], -1)),
    "exotic": lambda m, x: m.down(torch.cumsum(torch.tanh(m.up(x)), -1) / 4),
    "sorted": lambda m, x: m.down(torch.sort(torch.tanh(m.up(x)), -1).values),
    "fourier": lambda m, x: m.down(torch.fft.irfft(torch.fft.rfft(torch.tanh(m.up(x))), n=32)),
    "top": lambda m, x: m.down(torch.tanh(m.up(x)) * (m.up(x) > 0)),
}


@pytest.mark.parametrize("name", FORWARD)
def test_a_model_that_runs_is_read(name: str) -> None:
    torch.manual_seed(0)
    forecast = ut.forecast(Called(FORWARD[name]), torch.randn(64, 16))
    sites = {s.site.name: s for s in forecast.sites}
    assert sites["up#0"].forward_rms > 0
    assert all(math.isfinite(s.backward_rms) for s in forecast.sites)
    assert forecast.end_to_end > 0


def test_what_has_no_law_is_flagged_and_about_right() -> None:
    torch.manual_seed(0)
    model, x = Called(FORWARD["exotic"]), torch.randn(256, 16)
    (flagged,) = [s for s in ut.forecast(model, x).sites if "bridged" in s.flags]
    assert flagged.site.operation == "cumsum"
    h = torch.tanh(model.up(x))
    assert flagged.forward_rms == pytest.approx(torch.cumsum(h, -1).square().mean().sqrt().item(), rel=0.3)


@pytest.mark.parametrize("given", ["tuple", "dict", "list"])
def test_inputs_of_several_kinds(given: str) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 32), nn.Linear(8, 32)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return torch.tanh(self.a(left)) + self.b(right)

    x, y = torch.randn(4, 8), torch.randn(4, 8)
    inputs = {"tuple": (x, y), "list": [x, y], "dict": {"left": x, "right": y}}[given]
    assert {"a#0", "b#0"} <= by_name(Two(), inputs).keys()


def test_images_of_bytes_are_a_signal_once_they_are_numbers() -> None:
    class Bytes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x.float() / 255).relu()

    x = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    model = Bytes()
    found = by_name(model, x)["conv#0"].forward_rms
    assert found == pytest.approx(model.conv(x.float() / 255).square().mean().sqrt().item(), rel=0.5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_script_is_bridged() -> None:
    inner = torch.jit.script(nn.Sequential(nn.Linear(16, 16), nn.Tanh()))
    model = nn.Sequential(nn.Linear(16, 16), inner, nn.Linear(16, 4))
    forecast = ut.forecast(model, torch.randn(32, 16))
    assert any("bridged" in s.flags for s in forecast.sites)
    assert {"0#0", "2#0"} <= {s.site.name for s in forecast.sites}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_wrappers_are_looked_through() -> None:
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(8, 16)
    plain = by_name(model, x)
    assert by_name(nn.DataParallel(model), x) == plain
    assert by_name(torch.compile(model, backend="eager"), x) == plain
    within = nn.Sequential(torch.compile(model, backend="eager"))
    assert [s.backward_rms for s in by_name(within, x).values()] == [s.backward_rms for s in plain.values()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_formats(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, x = mlp(), torch.randn(8, 16)
    single = ut.forecast(model, x).end_to_end
    assert ut.forecast(model.to(dtype), x.to(dtype)).end_to_end == pytest.approx(single, rel=0.01)
    bridged = Called(FORWARD["exotic"]).to(dtype)
    assert ut.forecast(bridged, x.to(dtype)).end_to_end > 0


def test_evaluation_mode_is_forecast_as_it_will_train_and_kept() -> None:
    model = mlp().eval()
    assert "2#0" in by_name(model, torch.randn(8, 16))
    assert not any(m.training for m in model.modules())


@pytest.mark.parametrize("on_values", [False, True])
def test_nothing_is_changed(on_values: bool) -> None:
    def run(m: Called, x: Tensor) -> Tensor:
        m.counter += 1
        m.cache = m.up(x)  # the last tensor, as some keep it
        noise = torch.rand(16)
        if on_values and x.sum() > 1e9:
            return x
        return m.down(F.dropout(m.norm(torch.tanh(m.cache)))) + noise

    model = Called(run)
    model.norm = nn.BatchNorm1d(32)
    called: list[int] = []
    handle = model.up.register_forward_hook(lambda *_: called.append(1))
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    read(model, torch.randn(8, 16, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert model.counter == 0
    assert model.cache is None
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert len(model.up._forward_hooks) == 1
    assert not nn.modules.module._global_forward_hooks
    handle.remove()


@pytest.mark.parametrize(
    ("model", "given", "error", "says"),
    [
        (mlp(), torch.randn(8, 15), ModelError, "15"),
        (mlp(), "text", InputError, "without a tensor"),
        (nn.Sequential(nn.LazyLinear(4)), torch.randn(2, 3), ModelError, "lazy"),
        (nn.Linear(3, 3, device="meta"), torch.randn(2, 3), ModelError, "meta"),
        (Called(lambda m, x: m.up.weight.sum()), torch.randn(2, 16), InputError, "depend"),
        (Called(lambda m, x: x.no_such_thing), torch.randn(2, 16), ModelError, "no_such_thing"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(
    model: nn.Module, given: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ut.forecast(model, given)


def test_sites_are_those_of_the_ledger() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 16, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(16)
            self.head = nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = F.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
            x = torch.cat([x, x * 2], 1)[:, :16]
            return self.head(x.mean((2, 3)))

    torch.manual_seed(0)
    model, x, y = Net(), torch.randn(8, 3, 8, 8), torch.randint(0, 5, (8,))
    ledger = ut.examine(model, (x, y), F.cross_entropy).ledger
    assert [s.site.name for s in ut.forecast(model, x).sites] == [e.site.name for e in ledger.path]
