"""Cures of recurrent layers that remember too little, or whose gradient grows through time."""

import copy
import math

import pytest
import torch
import written_nets
from cure_nets import Recurrent, mlp, training
from torch import nn

from undertow.cures import Cure, Training, chosen
from undertow.cures.surgery.remembering import STRETCHED, lengths


def one(name: str) -> Cure:
    return chosen([name])[0]


def given(kind: type[nn.RNNBase], steps: int = 40) -> Training:
    torch.manual_seed(0)
    return training(Recurrent(kind), shape=(steps, 6))


@pytest.mark.parametrize(("kind", "gate"), [(nn.LSTM, 1), (nn.GRU, 1)])
def test_forgetting_times_cover_the_sequence(kind: type[nn.RNNBase], gate: int):
    case = given(kind)
    assert lengths(case) == {"recurrent": 40}
    torch.manual_seed(5)
    cured = one("chrono_init").apply(case)
    layer = cured.model.recurrent
    keep = layer.bias_ih_l0[gate * 8 : (gate + 1) * 8]
    times = keep.exp()
    assert ((times >= 1) & (times <= 39)).all()
    assert times.max() > 10
    assert not layer.bias_hh_l0[gate * 8 : (gate + 1) * 8].any()
    if kind is nn.LSTM:
        assert torch.equal(layer.bias_ih_l0[:8], -keep)
    torch.manual_seed(5)
    exec(one("chrono_init").patch(case), {"model": case.model})
    assert all(torch.equal(a, b) for a, b in zip(case.model.parameters(), cured.model.parameters(), strict=True))


def test_plain_layers_begin_as_the_identity():
    case = given(nn.RNN)
    cured = one("identity_recurrence").apply(case)
    x = case.batches[0][0]  # pyright: ignore[reportIndexIssue]
    states = cured.model.recurrent(x)[0]
    weight = cured.model.recurrent.weight_ih_l0
    torch.testing.assert_close(states[:, 0], (x[:, 0] @ weight.T).relu())
    torch.testing.assert_close(states[:, 1], (x[:, 1] @ weight.T + states[:, 0]).relu())
    exec(one("identity_recurrence").patch(case), {"model": case.model})
    assert torch.equal(case.model(x), cured.model(x))


@pytest.mark.parametrize("kind", STRETCHED)
def test_a_stretch_computes_the_same_and_takes_no_gradient_further(kind: type[nn.RNNBase]):
    case = given(kind)
    cured = one("shorter_bptt").apply(case)
    x = case.batches[0][0].requires_grad_()  # pyright: ignore[reportIndexIssue]
    torch.testing.assert_close(cured.model(x), case.model(x))
    assert isinstance(cured.model.recurrent, kind)
    (through,) = torch.autograd.grad(cured.model(x).sum(), x)
    assert not through[:, :30].any()
    assert through[:, 30:].abs().sum(-1).all()
    again = copy.deepcopy(cured.model)
    assert torch.equal(again(x), cured.model(x))
    exec(one("shorter_bptt").patch(case), {"model": case.model})
    assert torch.equal(torch.autograd.grad(case.model(x).sum(), x)[0], through)


def test_a_state_that_a_loop_detaches_is_kept():
    torch.manual_seed(0)
    case = training(written_nets.Forgetful(), shape=(6, 6))
    (edit,) = one("longer_bptt").edits(case)
    assert (edit.old, edit.new) == ("h.detach()", "h")
    cured = one("longer_bptt").apply(case)
    x = case.batches[0][0].requires_grad_()  # pyright: ignore[reportIndexIssue]
    before, after = (torch.autograd.grad(m(x).sum(), x)[0] for m in (case.model, cured.model))
    assert not before[:, 0].any()
    assert after[:, 0].any()
    assert torch.equal(case.model(x), cured.model(x))


def test_what_has_no_time_is_refused():
    for name in ("chrono_init", "identity_recurrence", "shorter_bptt", "longer_bptt"):
        assert one(name).applies(training(mlp())) is not None
    assert one("shorter_bptt").applies(given(nn.GRU, steps=7)) is not None
    both = given(nn.LSTM)
    both.model.recurrent = nn.LSTM(6, 4, batch_first=True, bidirectional=True)
    assert "one direction" in str(one("shorter_bptt").applies(both))
    assert one("chrono_init").applies(both) is None
    assert math.isfinite(float(one("chrono_init").apply(both).model(both.batches[0][0]).sum().detach()))  # pyright: ignore
