"""The first value that is not finite, found on the side at the step where it arose."""

from __future__ import annotations

import inspect
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.probe.nonfinite.search import Given
from undertow.probe.nonfinite.witness import Witness
from undertow.record import NotObserved, Origin


class Net(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last, self.between = nn.Linear(4, 4), nn.Linear(4, 3), between
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.dropout(self.norm(self.between(self.first(x))), 0.2))


@dataclass
class Case:
    between: Callable[[Tensor], Tensor]
    site: str
    direction: str
    value: str
    zero: bool = False
    """Whether the first layer gives zeros."""


def overflow(x: Tensor) -> Tensor:
    return torch.exp(x * 1e3 + 200)


def masked_log(x: Tensor) -> Tensor:
    return torch.where(x > 0, torch.log(x.abs()), x)


def division(x: Tensor) -> Tensor:
    return x / (x - x)


def root(x: Tensor) -> Tensor:
    return x.sqrt()


def norm(x: Tensor) -> Tensor:
    return x * x.square().sum(1, keepdim=True).sqrt()


def inplace(x: Tensor) -> Tensor:
    return (x.abs() + 1).mul_(1e3).exp_()


def empty_row(x: Tensor) -> Tensor:
    return x.masked_fill(torch.ones_like(x, dtype=torch.bool), -math.inf).softmax(1)


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x / 0

    @staticmethod
    def backward(ctx, gradient):
        return gradient


CASES = {
    "exp overflows": Case(overflow, "forward:exp", "forward", "inf"),
    "log(0) behind where": Case(masked_log, "forward:log", "backward", "nan", zero=True),
    "x/0": Case(division, "forward:div", "forward", "inf"),
    "sqrt at 0": Case(root, "forward:sqrt", "backward", "inf", zero=True),
    "norm at 0": Case(norm, "forward:sqrt", "backward", "nan", zero=True),
    "in place": Case(inplace, "forward:exp", "forward", "inf"),
    "softmax of nothing": Case(empty_row, "forward:softmax", "forward", "nan"),
    "custom function": Case(Own.apply, "forward:div", "forward", "inf"),
}


def stepped(model: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor] = torch.Tensor.mean) -> Origin | NotObserved:
    witness = Witness(model, lambda: True)
    witness.deepen(True)
    loss(model(x)).backward()
    found = witness.find(3)
    witness.close()
    return found


def line_of(function: Callable[..., object], word: str) -> str:
    lines, start = inspect.getsourcelines(function)
    return f"test_origin.py:{start + next(i for i, text in enumerate(lines) if word in text)}"


@pytest.mark.parametrize("name", CASES)
def test_the_operation_that_made_it(name: str) -> None:
    case = CASES[name]
    torch.manual_seed(0)
    model = Net(case.between)
    if case.zero:
        nn.init.zeros_(model.first.weight)
        nn.init.zeros_(model.first.bias)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, state = torch.randn(8, 4), torch.get_rng_state()
    origin = stepped(model, x)
    assert isinstance(origin, Origin)
    expected = (3, case.site, case.direction, case.value)
    assert (origin.step, origin.site, origin.direction, origin.value) == expected
    if name != "custom function":
        assert origin.source == line_of(case.between, "return")
        assert origin.inputs
        finite = [r.nonfinite == 0 for r in origin.inputs]
        assert all(finite) or name == "softmax of nothing"  # the row of -inf is what went in
        assert len(origin.ranges) == len(origin.inputs)
        sizes = [max(-low, high) for low, high in origin.ranges]
        assert sizes == [r.max if r.nonfinite == 0 else math.inf for r in origin.inputs]
    assert origin.exact
    assert origin.output is not None
    assert origin.output.nonfinite
    assert torch.equal(before["first.weight"], model.first.weight)
    after, gradients = torch.get_rng_state(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    other = Net(case.between)  # the same without us
    other.load_state_dict(before)
    torch.set_rng_state(state)
    other(x).mean().backward()
    assert torch.equal(after, torch.get_rng_state())
    torch.testing.assert_close(gradients, [p.grad for p in other.parameters()], rtol=0, atol=0, equal_nan=True)
    assert all(torch.equal(v, other.state_dict()[k]) or v.isnan().any() for k, v in model.state_dict().items())


def test_the_range_of_what_went_in() -> None:
    def logarithm(x: Tensor) -> Tensor:
        return (x.abs() + torch.tensor([3.0, -4.0, 1.0, 0.0]) * 100).log()

    origin = stepped(Net(logarithm), torch.zeros(8, 4))
    assert isinstance(origin, Origin)
    ((low, high),) = origin.ranges
    assert (low, high) == (pytest.approx(-400, abs=1), pytest.approx(300, abs=1))
    quotient = stepped(Net(division), torch.randn(8, 4))
    assert isinstance(quotient, Origin)
    assert quotient.ranges[1] == (0.0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_ranges_leave_out_what_is_no_number(dtype: torch.dtype) -> None:
    made = torch.tensor([[math.nan, -2.0], [1.0, 0.5]]).to(dtype)
    given = Given.of([made, torch.tensor([math.nan]), torch.tensor([-math.inf, 3]), torch.eye(3).to_sparse()])
    assert given.ranges[0] == (-2.0, 1.0)
    assert all(map(math.isnan, given.ranges[1]))
    assert given.ranges[2:] == ((-math.inf, 3.0), (0.0, 1.0))
    assert given.together.ranges == ((-math.inf, 3.0),)


def plain(x: Tensor) -> Tensor:
    return x.tanh()


def seen(origin: Origin | NotObserved) -> tuple[str, str, str]:
    assert isinstance(origin, Origin)
    return origin.site, origin.direction, origin.value


def test_a_batch_with_a_nan() -> None:
    x = torch.randn(8, 4)
    x[3, 1] = math.nan
    assert seen(stepped(Net(plain), x)) == ("input", "forward", "nan")


def test_weights_that_were_bad_before() -> None:
    model = Net(plain)
    with torch.no_grad():
        model.last.weight[0, 0] = math.inf
    assert seen(stepped(model, torch.randn(8, 4))) == ("last.weight", "forward", "inf")


def test_the_loss_after_the_model() -> None:
    origin = stepped(Net(plain), torch.randn(8, 4), lambda y: (y - y).log().mean())
    assert seen(origin) == ("loss", "backward", "nan")
    assert isinstance(origin, Origin)
    assert origin.inputs[0].count == 24


def test_a_penalty_outside_of_the_model() -> None:
    model = Net(plain)
    nn.init.zeros_(model.norm.bias)
    found = stepped(model, torch.randn(8, 4), lambda y: y.mean() + model.norm.bias.square().sum().sqrt())
    assert isinstance(found, NotObserved)
    assert "penalty" in found.reason


def test_float16_overflows_under_autocast() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    nn.init.constant_(model[0].weight, 200.0)
    nn.init.constant_(model[1].weight, 200.0)
    witness = Witness(model, lambda: True)
    witness.deepen(True)
    with torch.autocast("cpu", torch.float16):
        output = model(torch.ones(8, 4) * 20)
    (output.float().mean() * math.inf).backward()
    origin = witness.find(0)
    assert seen(origin)[0] == "loss"  # tanh made the overflow finite again, so it is no fault
    model[2] = nn.Identity()
    witness.over = True
    with torch.autocast("cpu", torch.float16):
        model(torch.ones(8, 4) * 20).float().mean().backward()
    assert seen(witness.find(0)) == ("1 (linear)", "forward", "inf")
    witness.close()


def test_masks_are_no_fault() -> None:
    """Scores of -inf that a softmax makes finite, and another operation that goes wrong after it."""

    def attention(x: Tensor) -> Tensor:
        scores = (x @ x.T).masked_fill(torch.ones(8, 8).triu(1).bool(), -math.inf)
        y = scores.softmax(1) @ x
        return (y - y) / (y - y)

    assert seen(stepped(Net(attention), torch.randn(8, 4))) == ("forward:div", "forward", "nan")


def test_one_of_several_passes() -> None:
    model = Net(plain)
    witness = Witness(model, lambda: True)
    witness.deepen(True)
    for i in range(4):
        x = torch.randn(8, 4)
        loss = model(x)
        ((loss - loss).sqrt() if i == 2 else loss).mean().backward()
    assert seen(witness.find(0))[:2] == ("loss", "backward")
    witness.over = True
    for i in range(4):
        model(torch.full((8, 4), math.nan if i == 2 else 1.0)).mean().backward()
    assert seen(witness.find(0)) == ("input", "forward", "nan")
    witness.close()


def test_a_pass_that_runs_only_once() -> None:
    left = [torch.randn(8, 4)]
    found = stepped(Net(lambda x: x + left.pop()), torch.full((8, 4), math.nan))
    assert isinstance(found, NotObserved)
    assert "pop from empty list" in found.reason


def test_passes_of_one_step_are_kept_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(4, 4)
    witness = Witness(model, lambda: True)
    for _ in range(100):
        model(torch.randn(2, 4))
    assert (len(witness.passes), witness.dropped) == (64, 36)
    witness.over = True
    assert len(witness.passes) == 64
    model(torch.randn(2, 4))
    assert (len(witness.passes), witness.dropped) == (1, 0)
    with torch.no_grad():
        model(torch.randn(2, 4))
    monkeypatch.setattr("undertow.probe.nonfinite.witness.MOST_BYTES", 1000)
    for _ in range(3):
        model(torch.randn(100, 4))
    assert (len(witness.passes), witness.dropped) == (1, 3)
    witness.close()


def test_passes_inside_of_functorch_are_left_alone() -> None:
    model = nn.Linear(4, 3)
    witness = Witness(model, lambda: True)
    weights = {k: torch.stack([p.detach()] * 2) for k, p in model.named_parameters()}
    torch.vmap(lambda w: torch.func.functional_call(model, w, torch.ones(2, 4)))(weights)
    assert not witness.passes
    witness.close()


def test_a_pass_that_talks_to_other_ranks_is_not_run_again() -> None:
    def summed(x: Tensor) -> Tensor:
        total = x.detach().clone()
        torch.distributed.all_reduce(total)
        return x / (total - total)

    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    torch.distributed.init_process_group("fake", store=fake.FakeStore(), rank=0, world_size=2)
    try:
        found = stepped(Net(summed), torch.randn(8, 4))
        assert isinstance(found, NotObserved)
        assert "other ranks" in found.reason
        assert seen(stepped(Net(division), torch.randn(8, 4)))[0] == "forward:div"
    finally:
        torch.distributed.destroy_process_group()


def test_an_error_of_ours_ends_the_keeping() -> None:
    def wanted() -> bool:
        raise RuntimeError("broken")

    model = nn.Linear(4, 3)
    witness = Witness(model, wanted)
    model(torch.ones(2, 4)).sum().backward()
    found = witness.testify(0)
    assert isinstance(found, NotObserved)
    assert "broken" in found.reason
    assert not model._forward_pre_hooks


def test_it_pickles_and_leaves_no_hook() -> None:
    model = Net(plain)
    witness = Witness(model, lambda: True)
    copy = pickle.loads(pickle.dumps(model))
    copy(torch.randn(8, 4))
    assert len(witness.passes) == 0
    witness.deepen(True)
    assert witness.find(0) is not None
    witness.close()
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
