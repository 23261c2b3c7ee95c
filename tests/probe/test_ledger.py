"""The ledger against torch.autograd.grad on the same net, run by hand."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from ledger_nets import NETS, Functional, Net, Residual, Tensors
from torch import Tensor, nn

from undertow.foundation import EFFECTS
from undertow.probe import Ledger, measure

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}
"""Relative; by dtype."""
EVERY = [(name, dtype) for name in NETS for dtype in TOLERANCE]


@dataclass
class Oracle:
    """The site's tensors and their gradients by autograd."""

    forward: Tensors
    backward: Tensors


def rms(x: Tensor) -> float:
    return x.detach().double().square().mean().sqrt().item()


def deinplaced(model: nn.Module) -> nn.Module:
    """A copy whose ReLUs leave their input alone, so that it can be kept."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


@cache
def both(net: Net, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> tuple[nn.Module, Ledger, Oracle]:
    model, x, target = net.build(dtype)
    plain = deinplaced(model)
    recording = measure(model, (x, target), lambda output, target: F.cross_entropy(output, target) * scale)
    tensors = net.by_hand(plain, x)
    loss = F.cross_entropy(list(tensors.values())[-1], target) * scale
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    return plain, recording.snapshots[0].ledger, Oracle(tensors, dict(zip(tensors, gradients, strict=True)))


@pytest.mark.parametrize(("name", "dtype"), EVERY)
def test_every_site_has_autograds_gradient(name: str, dtype: torch.dtype) -> None:
    _, ledger, oracle = both(NETS[name], dtype)
    assert [e.site.name for e in ledger] == list(oracle.forward)
    for entry in ledger:
        assert entry.forward_rms == pytest.approx(rms(oracle.forward[entry.site.name]), rel=TOLERANCE[dtype])
        assert entry.backward_rms == pytest.approx(rms(oracle.backward[entry.site.name]), rel=TOLERANCE[dtype])


@pytest.mark.parametrize(("name", "dtype"), EVERY)
def test_the_factors_multiply_to_the_measured_change(name: str, dtype: torch.dtype) -> None:
    _, ledger, oracle = both(NETS[name], dtype)
    sizes = {site: rms(gradient) for site, gradient in oracle.backward.items()}
    for entry in ledger:
        change = sizes[entry.previous.name] / sizes[entry.site.name] if entry.previous else 1.0
        assert entry.factor == pytest.approx(change, rel=1e-5)
    first, *_, last = sizes.values()
    assert ledger.product == pytest.approx(first / last, rel=1e-5)
    assert ledger.end_to_end == pytest.approx(first / last, rel=1e-5)
    assert math.prod(ledger.total(effect) for effect in EFFECTS) == pytest.approx(first / last, rel=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_the_main_path_runs_from_the_first_site_to_the_last_without_a_gap(name: str) -> None:
    _, ledger, _ = both(NETS[name])
    assert ledger.path[0].previous is None
    assert [e.previous for e in ledger.path[1:]] == [e.site for e in ledger.path[:-1]]


SLOPES = {
    "sigmoid": lambda x: x.sigmoid() * (1 - x.sigmoid()),
    "tanh": lambda x: 1 - x.tanh() ** 2,
    "relu": lambda x: (x > 0).to(x),
}


@pytest.mark.parametrize("name", ["mlp", "mlp_inplace", "functional", "functional_inplace"])
def test_activation_and_weights_each_pay_their_own_share(name: str) -> None:
    model, ledger, oracle = both(NETS[name])
    seen = set()
    for entry in ledger:
        if entry.previous is None:
            continue
        delta = oracle.backward[entry.site.name]
        if entry.site.effect == "activation":
            slope = SLOPES[entry.site.operation](oracle.forward[entry.previous.name].detach())
            expected = {"activation": rms(slope * delta) / rms(delta)}
            assert entry.slope is not None
            assert (entry.slope.mean, entry.slope.rms) == pytest.approx((slope.mean().item(), rms(slope)))
        else:
            weight = model.get_submodule(entry.site.module).weight
            assert isinstance(weight, Tensor)
            expected = {"weights": rms(delta @ weight.detach()) / rms(delta)}
        seen |= set(expected)
        shares = {effect: getattr(entry, effect) for effect in EFFECTS}
        assert shares == pytest.approx(dict.fromkeys(EFFECTS, 1.0) | expected)
    assert seen == {"activation", "weights"}


@pytest.mark.parametrize("name", ["residual", "residual_iadd"])
def test_a_residual_sum_shows_as_branching_of_what_both_ways_read(name: str) -> None:
    _, ledger, oracle = both(NETS[name])
    delta, sizes = oracle.backward, {site: rms(g) for site, g in oracle.backward.items()}
    for i in range(3):
        before = "stem#0" if i == 0 else f"forward:add#{i - 1}"
        total = ledger[f"forward:add#{i}"]
        assert (total.previous and total.previous.name, total.factor) == (f"act#{i}", pytest.approx(1.0))
        norm = ledger[f"norms.{i}#0"]
        assert norm.previous is not None
        assert norm.previous.name == before
        part = delta[before] - delta[f"forward:add#{i}"]  # what the block adds to the skip's
        assert norm.normalisation == pytest.approx(rms(part) / sizes[norm.site.name])
        assert norm.branching == pytest.approx(sizes[before] / rms(part))
        assert ledger[f"ups.{i}"].branching == 1.0
    assert ledger.total("branching") == pytest.approx(math.prod(e.branching for e in ledger))


def test_a_junction_counts_its_second_reader_as_branching() -> None:
    _, ledger, oracle = both(NETS["junction"])
    skip, total = oracle.backward["forward:add#0"].flatten(1), oracle.backward["act#0"]
    up = ledger["up"]
    assert up.previous is not None
    assert up.previous.name == "act#0"
    assert up.branching == pytest.approx(rms(total) / rms(total - skip))
    assert up.weights == pytest.approx(rms(total - skip) / rms(oracle.backward["up#0"]))


def test_normalisation_and_pooling_are_counted_as_what_they_are() -> None:
    _, ledger, oracle = both(NETS["cnn"])
    sizes = {site: rms(g) for site, g in oracle.backward.items()}
    assert [e.site.effect for e in ledger] == ["weights", "normalisation", "activation", "other", "weights"]
    assert ledger["1"].normalisation == pytest.approx(sizes["0#0"] / sizes["1#0"])
    assert ledger["3"].other == pytest.approx(sizes["2#0"] / sizes["3#0"])
    assert ledger.total("branching") == 1.0


def test_a_module_that_is_called_again_has_a_site_for_each_call() -> None:
    _, ledger, _ = both(NETS["residual"])
    assert [e.site.name for e in ledger if e.site.module == "act"] == ["act#0", "act#1", "act#2"]
    assert ledger["act"] is ledger["act#0"]


@pytest.mark.parametrize("inplace", [False, True])
def test_a_functional_site_has_its_index_and_the_users_line(inplace: bool) -> None:
    _, ledger, _ = both(NETS["functional_inplace" if inplace else "functional"])
    source = Path(Functional.forward.__code__.co_filename).read_text(encoding="utf-8").split("\n")
    site = ledger["forward:relu#2"].site
    assert site.source is not None
    file, line = re.fullmatch(r"(\w+\.py):(\d+)", site.source).groups()  # type: ignore[union-attr]
    assert file == "ledger_nets.py"
    assert "# the user's line" in source[int(line) - 1]


@pytest.mark.parametrize("name", NETS)
def test_the_scale_of_the_loss_changes_no_factor(name: str) -> None:
    plain, small = both(NETS[name], torch.float32)[1], both(NETS[name], torch.float32, scale=1e-6)[1]
    for a, b in zip(plain, small, strict=True):
        assert b.backward_rms == pytest.approx(1e-6 * a.backward_rms, rel=1e-4)
        assert [getattr(b, e) for e in EFFECTS] == pytest.approx([getattr(a, e) for e in EFFECTS], rel=1e-4)


def test_the_ledger_is_that_of_the_loss_that_is_returned() -> None:
    def twice(output: Tensor, target: Tensor) -> Tensor:
        loss = F.cross_entropy(output, target)
        loss.backward(retain_graph=True)
        return loss * 100

    model, x, target = NETS["residual"].build(torch.float64)
    assert isinstance(model, Residual)
    once = both(NETS["residual"])[1]
    again = measure(model, (x, target), twice).snapshots[0].ledger
    assert [e.backward_rms for e in again] == pytest.approx([100 * e.backward_rms for e in once])
