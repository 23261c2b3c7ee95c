"""How model, loss and optimizer hang together, as the first measured steps show it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.probe import Observer
from undertow.probe.wiring.terms import terms
from undertow.probe.wiring.twins import Alikes
from undertow.record import Twins, Wiring

X, Y = torch.randn(8, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 3)


TERMS: dict[str, tuple[Callable[[Tensor], Tensor], list[tuple[str, ...]], bool]] = {
    "cross_entropy": (lambda z: F.cross_entropy(z, Y), [("nll_loss", "log_softmax")], True),
    "of_a_softmax": (lambda z: F.cross_entropy(z.softmax(-1), Y), [("nll_loss", "log_softmax", "softmax")], True),
    "smoothed": (
        lambda z: F.cross_entropy(z.softmax(1), Y, label_smoothing=0.1),
        [("log_softmax", "softmax"), ("nll_loss", "log_softmax", "softmax")],
        False,
    ),
    "scaled": (lambda z: 3 * F.mse_loss(z.sigmoid(), X[:, :3]) / 2, [("mse_loss", "sigmoid")], True),
    "with_a_penalty": (lambda z: F.mse_loss(z, X[:, :3]) + z.square().mean(), [("mse_loss",)], False),
    "two": (
        lambda z: F.cross_entropy(z, Y) + F.mse_loss(z.tanh(), X[:, :3]),
        [("mse_loss", "tanh"), ("nll_loss", "log_softmax")],
        False,
    ),
    "moved": (
        lambda z: F.cross_entropy(z.view(2, 4, 3).softmax(-1).transpose(1, 2), Y.view(2, 4)),
        [("nll_loss2_d", "log_softmax", "softmax")],
        True,
    ),
    "of_logits": (
        lambda z: F.binary_cross_entropy_with_logits(z, (z > 0).float()),
        [("binary_cross_entropy_with_logits",)],
        True,
    ),
    "by_hand": (lambda z: (z - 1).square().mean(), [], False),
}


@pytest.mark.parametrize("name", TERMS)
def test_the_graph_tells_what_the_loss_is_made_of(name: str) -> None:
    loss_of, operations, alone = TERMS[name]
    loss = loss_of(linear()(X))
    found = terms(loss)
    assert sorted(t.operations for t in found) == operations
    assert [t.value for t in found if t.value == t.value] == ([loss.item()] if alone else [])
    loss.backward()
    assert terms(loss)[:1] == found[:1] or not alone


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_the_axis_of_a_softmax_counts_from_zero(axis: int) -> None:
    (term,) = terms(F.mse_loss(linear()(X).softmax(axis), X[:, :3]))
    assert (term.axis, term.shape, term.classes) == (axis % 2, (8, 3), (8, 3)[axis])


class Twice(nn.Module):
    """Several kinds of weights, the given ones with each unit twice."""

    def __init__(self, *doubled: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(40, 8)
        self.line, self.conv = nn.Linear(8, 6), nn.Conv1d(1, 4, 3)
        self.back, self.cell = nn.ConvTranspose1d(4, 6, 3), nn.GRU(6, 4)
        self.by_hand = nn.Parameter(torch.randn(4, 6))
        nn.init.zeros_(self.words.weight)
        for name, p in self.named_parameters():
            axis = 1 if name in ("by_hand", "back.weight") else 0
            if name in doubled:
                with torch.no_grad():
                    first = p.movedim(axis, 0)[: p.shape[axis] // 2]
                    p.movedim(axis, 0)[p.shape[axis] // 2 :] = first
                p.grad = p.detach() * 2
            else:
                p.grad = torch.randn_like(p)


def look(model: nn.Module) -> tuple[Twins, ...]:
    return Alikes(model).look({id(p) for p in model.parameters()})


WEIGHTS = ("line.weight", "conv.weight", "back.weight", "cell.weight_ih_l0", "by_hand")


@pytest.mark.parametrize("name", WEIGHTS)
def test_units_with_an_equal_one_are_counted_in_every_kind_of_weight(name: str) -> None:
    (twins,) = look(Twice(name))
    model = Twice(name)
    units = model.get_parameter(name).shape[1 if name in ("by_hand", "back.weight") else 0]
    assert (twins.parameter, twins.units, twins.twins, twins.kinds) == (name, units, units, units // 2)
    assert twins.moving


def test_equal_weights_with_other_gradients_are_no_twins() -> None:
    model = Twice(*WEIGHTS)
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    assert look(model) == ()


def test_rows_that_nothing_is_multiplied_with_are_no_units() -> None:
    assert Alikes(Twice("by_hand")).look(()) == ()


def test_one_unit_of_its_own_is_enough() -> None:
    model = Twice("line.weight")
    with torch.no_grad():
        model.line.weight[0] += 1
    assert look(model) == ()


def test_rounding_apart_two_units_are_equal() -> None:
    model = Twice("line.weight")
    assert model.line.weight.grad is not None
    with torch.no_grad():
        model.line.weight *= 1 + 1e-6 * torch.rand(6, 8)
        model.line.weight.grad *= 1 + 1e-6 * torch.rand(6, 8)
    (twins,) = look(model)
    assert (twins.twins, twins.kinds) == (6, 3)


def test_what_rounding_left_of_a_sum_of_zero_is_no_gradient() -> None:
    model = Twice("line.weight")
    model.line.weight.grad = 1e-9 * torch.randn(6, 8)
    (twins,) = look(model)
    assert (twins.parameter, twins.moving) == ("line.weight", False)


# ---------------------------------------------------------------- while a loop is observed


class Cutting(nn.Module):
    """What lies between two layers goes out of torch, and comes back as another tensor."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 3)
        self.kept: list[weakref.ref[Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        out = torch.from_numpy(h.detach().numpy() + 1)
        self.kept += [weakref.ref(h), weakref.ref(out)]
        return self.second(out * (h > 0))


def losses(watched: bool) -> tuple[list[float], Cutting, Wiring | None]:
    model = Cutting()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    observer = Observer(model, optimizer, None) if watched else None
    found = []
    for _ in range(7):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    if observer is None:
        return found, model, None
    observer.close()
    assert observer.failure is None
    return found, model, observer.recording.wiring


def test_looking_changes_nothing_and_keeps_no_tensor_alive() -> None:
    alone, by_itself, _ = losses(watched=False)
    seen, model, wiring = losses(watched=True)
    assert seen == alone
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), by_itself.parameters(), strict=True))
    assert wiring is not None
    gc.collect()
    assert [r for r in model.kept if r() is not None] == []


def test_only_what_the_optimizer_waits_for_and_never_gets_is_told() -> None:
    wiring = losses(watched=True)[2]
    assert wiring is not None
    assert [u.parameter for u in wiring.unreached] == ["first.weight", "first.bias"]
    assert {u.cut.operation for u in wiring.unreached if u.cut} == {"gt"}
    assert wiring.step == 4


def test_where_all_is_connected_one_look_is_enough() -> None:
    model = nn.Sequential(linear())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    observer = Observer(model, optimizer, None)
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
    observer.close()
    assert observer.recording.wiring == Wiring(
        0, (), observer.recording.wiring.terms if observer.recording.wiring else ()
    )
