"""What is cut off, alike or of no use to the loss is found; what looks like it and is meant is left alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from wired_faults import FAULTS, constant
from wired_modules import chain
from wired_nets import ON_PURPOSE, STEPS, Run, data, zeroed

import undertow as ut
from undertow.diagnosis import Diagnosis, watch


def trained(run: Run, **options) -> Diagnosis:
    with watch(run.model, budget=None, **options) as watched:
        for number in range(STEPS):
            run.step(number)
    assert "undertow" not in watched.recording.not_observed
    return watched.diagnose()


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_what_is_meant_is_no_fault(name: str) -> None:
    assert [str(f) for f in trained(ON_PURPOSE[name]()).findings if f.severity != "note"] == []


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_found_where_it_is_and_nothing_else(name: str) -> None:
    make, kind, where = FAULTS[name]
    found = trained(make())
    assert [(f.kind, f.where, f.step) for f in found.findings if f.severity != "note"] == [(kind, where, 0)]


@pytest.mark.parametrize("name", ["detach", "argmax", "no_grad", "items"])
def test_the_line_that_cuts_is_named(name: str) -> None:
    (finding,) = trained(FAULTS[name][0]()).findings
    assert "wired_" in finding.because


def test_what_nothing_uses_is_a_note() -> None:
    (finding,) = trained(ON_PURPOSE["logging"]()).findings
    assert (finding.severity, finding.cause, finding.where) == ("note", "none", "unused.weight")


def test_a_saved_run_tells_the_same(tmp_path) -> None:
    for name in ("copies_of_units", "detach", "softmax_twice"):
        found = trained(FAULTS[name][0](), path=tmp_path / name)
        again = ut.diagnosis.load(tmp_path / name)
        assert again.diagnose().findings == found.findings
        assert again.recording.wiring == found.recording.wiring


def test_one_batch_shows_what_is_there_at_the_start() -> None:
    def kinds(model: nn.Module) -> list[str]:
        return [f.kind for f in ut.examine(model, data(0), F.cross_entropy).findings]

    assert kinds(FAULTS["detach"][0]().model) == ["disconnected"]
    assert kinds(nn.Sequential(chain(16, 32, 4), nn.Softmax(1))) == ["loss_mismatch"]
    assert kinds(constant(chain(16, 32, 32, 4), 0.0)) == ["symmetric"]
    assert kinds(zeroed(chain(16, 32, 4), "2")) == []


def test_weights_at_zero_are_not_judged_before_they_could_open() -> None:
    run = ON_PURPOSE["gated_by_zero"]()
    found = ut.examine(run.model, data(0), F.cross_entropy)
    assert found.findings == ()
    assert "symmetric" in [n.rule for n in found.not_judged]


@pytest.mark.parametrize("factor", [1e-6, 1e5])
def test_a_factor_of_the_loss_changes_nothing(factor: float) -> None:
    found = []
    for scale in (1.0, factor):
        run = FAULTS["tanh_for_targets_below_it"][0]()

        def step(number: int, run: Run = run, scale: float = scale) -> None:
            x, y = data(number)
            run.optimizer.zero_grad()
            (scale * F.mse_loss(run.model(x), -5.0 + F.one_hot(y, 4))).backward()
            run.optimizer.param_groups[0]["lr"] = 0.05 / scale
            run.optimizer.step()

        torch.manual_seed(0)
        (finding,) = trained(Run(run.model, step)).findings
        found.append((finding.kind, finding.severity, finding.where, round(finding.evidence[0].value, 3)))
    assert found[0] == found[1]
