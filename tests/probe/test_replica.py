"""A replica computes what its model computes, and running it leaves nothing behind."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from undertow.foundation import ModelError
from undertow.probe.nonfinite.replica import replica


class Awkward(nn.Module):
    """Tied weights, a module reached by a method only, state that the forward pass changes, and what no copy takes."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(4, 6, bias=False), nn.Linear(6, 4, bias=False)
        self.again = nn.Linear(4, 6, bias=False)
        self.again.weight = self.up.weight
        self.norm = nn.BatchNorm1d(6)
        self.act = self.norm.forward
        self.lock = threading.Lock()
        self.seen: list[Tensor] = []
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.act(self.up(x))
        self.seen.append(self.last)
        return self.down(self.last + self.again(x))


MODELS = {
    "awkward": (Awkward, (8, 4)),
    "lstm": (lambda: nn.LSTM(4, 4, 2), (5, 2, 4)),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), (8, 4)),
    "spectral norm": (lambda: nn.utils.spectral_norm(nn.Linear(4, 3)), (8, 4)),
    "compiled": (lambda: torch.compile(nn.Sequential(nn.Linear(4, 3), nn.Tanh()), backend="eager"), (8, 4)),
}


def outcome(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    output = model(x)
    output = output[0] if isinstance(output, tuple) else output
    model.zero_grad()
    output.square().sum().backward()
    return output.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", MODELS)
def test_it_computes_the_same_and_leaves_the_original_alone(name: str) -> None:
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model, x = make(), torch.randn(shape)
    model(x)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    twin = replica(model)
    output, gradients = outcome(twin, x)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    expected, wanted = outcome(model, x)
    torch.testing.assert_close(output, expected)
    assert len(gradients) == len(wanted) > 0
    torch.testing.assert_close(gradients, wanted)


def test_weights_take_no_memory_and_python_state_is_its_own() -> None:
    model = Awkward()
    model(torch.randn(8, 4))
    twin = replica(model)
    assert isinstance(twin, Awkward)
    twin(torch.randn(8, 4))
    assert (model.calls, len(model.seen)) == (1, 1)
    assert (twin.calls, len(twin.seen)) == (2, 2)
    assert [p.data_ptr() for p in twin.parameters()] == [p.data_ptr() for p in model.parameters()]
    assert twin.again.weight is twin.up.weight is not model.up.weight
    assert twin.lock is model.lock


def test_hooks_of_the_user_stay_with_the_original() -> None:
    seen: list[nn.Module] = []
    model = nn.Linear(4, 3)
    model.register_forward_hook(lambda module, args, output: seen.append(module))
    model.weight.register_hook(lambda gradient: seen.append(model))
    outcome(replica(model), torch.randn(2, 4))
    assert not seen


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_what_it_cannot_rebuild() -> None:
    with pytest.raises(ModelError, match=r"torch\.jit"):
        replica(nn.Sequential(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2), check_trace=False)))
