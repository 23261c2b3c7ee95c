"""Each bad input gives one error that says what was got, what was expected, and what to type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import examine, watch
from undertow.foundation import (
    BatchError,
    InputError,
    LossError,
    ModelError,
    NothingObservedError,
    UndertowError,
    UnknownNameError,
)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def frozen() -> nn.Module:
    return net().requires_grad_(False)


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(6, 4), torch.randint(0, 3, (6,))


def unreduced(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, reduction="none")


def number(output: Tensor, target: Tensor) -> Any:
    return F.cross_entropy(output, target).item()


def detached(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.detach(), target)


def penalty(model: nn.Module, batch: Any) -> Tensor:
    return sum(p.square().sum() for p in model.parameters())  # type: ignore[return-value]


def unseen() -> None:
    model = net()
    with watch(model) as run:
        pass
    run.diagnose()


def only_evaluated() -> None:
    model = net().eval()
    with watch(model) as run:
        model(batch()[0]).sum().backward()
    run.diagnose()


def without_backward() -> None:
    model = net()
    with watch(model, torch.optim.SGD(model.parameters(), 0.1)) as run:
        model(batch()[0]).sum()
    run.diagnose()


@dataclass(frozen=True)
class Bad:
    do: Callable[[], Any]
    error: type[UndertowError]
    got: str
    expected: str
    instead: str


LOSS = F.cross_entropy
CASES = {
    "no_model": Bad(lambda: watch(3), ModelError, "an int", "an nn.Module", "pass the model itself"),  # type: ignore[arg-type]
    "no_parameters": Bad(lambda: watch(nn.ReLU()), ModelError, "a ReLU without parameters", "weights", "nn.ModuleList"),
    "no_parameters_examine": Bad(
        lambda: examine(nn.ReLU(), batch(), LOSS), ModelError, "a ReLU without parameters", "weights", "nn.ModuleList"
    ),
    "frozen": Bad(
        lambda: watch(frozen()), ModelError, "all 4 parameters frozen", "requires_grad", "requires_grad_(True)"
    ),
    "frozen_examine": Bad(
        lambda: examine(frozen(), batch(), LOSS),
        ModelError,
        "all 4 parameters frozen",
        "requires_grad",
        "requires_grad_(True)",
    ),
    "loss_of_every_sample": Bad(
        lambda: examine(net(), batch(), unreduced), LossError, "a loss of shape (6,)", "a scalar", "loss.mean()"
    ),
    "loss_is_a_number": Bad(
        lambda: examine(net(), batch(), number), LossError, "a loss of type float", "a scalar tensor", "not its .item()"
    ),
    "loss_without_gradient": Bad(
        lambda: examine(net(), batch(), detached), LossError, "a loss without a gradient", "under autograd", ".detach()"
    ),
    "loss_refuses": Bad(
        lambda: examine(net(), (batch()[0], torch.zeros(5, dtype=torch.int64)), LOSS),
        LossError,
        "an int64 tensor of shape (5,), which the loss refuses",
        "loss(output, target)",
        "by hand",
    ),
    "loss_of_no_pass": Bad(
        lambda: examine(net(), batch(), penalty),
        NothingObservedError,
        "reaches no operation inside the model",
        "model(...)",
        "call the model",
    ),
    "shape_refused": Bad(
        lambda: examine(net(), (torch.randn(6, 7), batch()[1]), LOSS),
        BatchError,
        "a float32 tensor of shape (6, 7), which the model refuses",
        "model(inputs)",
        "first layer",
    ),
    "integers": Bad(
        lambda: examine(net(), (torch.ones(6, 4, dtype=torch.int64), batch()[1]), LOSS),
        BatchError,
        "an int64 tensor of shape (6, 4), which the model refuses",
        "model(inputs)",
        "x.float()",
    ),
    "three_parts": Bad(
        lambda: examine(net(), (*batch(), 1), LOSS),
        BatchError,
        "a batch of type tuple with 3 parts",
        "(inputs, target)",
        "(x, y)",
    ),
    "no_batch": Bad(
        lambda: examine(net(), None, LOSS), BatchError, "a batch of type NoneType", "(inputs, target)", "(x, y)"
    ),
    "budget_too_large": Bad(lambda: watch(net(), budget=2), InputError, "budget=2", "between 0 and 1", "budget=0.02"),
    "budget_negative": Bad(
        lambda: watch(net(), budget=-0.1), InputError, "budget=-0.1", "between 0 and 1", "budget=0.02"
    ),
    "budget_nan": Bad(
        lambda: watch(net(), budget=float("nan")), InputError, "budget=nan", "between 0 and 1", "budget=0.02"
    ),
    "nothing_run": Bad(
        unseen, NothingObservedError, "no backward pass was seen", "loss.backward()", "with ut.watch(model)"
    ),
    "only_evaluated": Bad(
        only_evaluated, NothingObservedError, "no backward pass was seen", "in training mode", "model.train()"
    ),
    "no_backward": Bad(
        without_backward, NothingObservedError, "no backward pass was seen", "loss.backward()", "with ut.watch(model)"
    ),
    "unknown_site": Bad(
        lambda: examine(net(), batch(), LOSS).ledger["l0"], UnknownNameError, "the site 'l0'", "one of 3 sites", "0"
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_error_says_got_expected_and_try(name: str) -> None:
    case = CASES[name]
    with pytest.raises(UndertowError) as caught:
        case.do()
    error = caught.value
    assert type(error) is case.error
    assert case.got in error.got
    assert case.expected in error.expected
    assert case.instead in error.instead
    assert str(error) == f"got {error.got}; expected {error.expected}. Try: {error.instead}"


@pytest.mark.parametrize("loss", [unreduced, number, detached, penalty])
def test_after_an_error_the_model_is_as_it_was(loss: Callable[..., Tensor]) -> None:
    model = net()
    with pytest.raises(UndertowError):
        examine(model, batch(), loss)
    assert [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks] == []
    assert all(p.grad is None for p in model.parameters())
    assert examine(model, batch(), F.cross_entropy).ledger.path


def test_an_error_is_also_the_builtin_that_one_would_catch() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(UnknownNameError, LookupError)
    assert all(issubclass(e, InputError) for e in (ModelError, BatchError, LossError))


def test_an_error_of_ours_is_not_blamed_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    from undertow.probe.tracing import trace

    def failing(_tensor: Tensor) -> Any:
        raise RuntimeError("a planted fault")

    monkeypatch.setattr(trace, "statistics", failing)
    with pytest.raises(RuntimeError, match="a planted fault") as caught:
        examine(net(), batch(), F.cross_entropy)
    assert not isinstance(caught.value, UndertowError)
