"""Targets and inputs brought to the size that weights are made for, and optimizers that hold everything."""

import copy

import pytest
import torch
import torch.nn.functional as F
from cure_nets import mlp, training
from torch import nn

from undertow.cures import Cure, Training, chosen, run
from undertow.cures.surgery.standard import statistics
from undertow.probe import objective


def one(name: str) -> Cure:
    return chosen([name])[0]


def regression(scale: float = 300.0, shift: float = 1000.0, outputs: int = 1, rate: float = 0.05, **more) -> Training:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, outputs))
    x = torch.randn(12, 32, 6, generator=torch.Generator().manual_seed(1))
    y = shift + scale * x[..., :outputs]
    loss = more.pop("loss", F.mse_loss)
    return Training(model, torch.optim.SGD(model.parameters(), rate), loss, list(zip(x, y, strict=True)), **more)


def by_model(model, batch):
    return F.mse_loss(model(batch[0]).squeeze(-1), batch[1].squeeze(-1))


@pytest.mark.parametrize("loss", [F.mse_loss, by_model, nn.MSELoss()])
def test_the_loss_is_of_standardised_targets_and_the_output_keeps_its_units(loss):
    case = regression(loss=loss)
    plain = copy.deepcopy(case.model)
    cured = one("standardise_targets").apply(case)
    x, y = case.batches[0]  # pyright: ignore[reportIndexIssue]
    targets = torch.cat([b[1] for b in case.batches])  # pyright: ignore[reportGeneralTypeIssues]
    mean, std = targets.mean(), targets.std(unbiased=False)
    torch.testing.assert_close(cured.model(x), plain(x) * std + mean)
    value = objective(cured.loss)
    torch.testing.assert_close(value(cured.model, (x, y)), F.mse_loss(plain(x), (y - mean) / std))
    torch.testing.assert_close(cured.model(x), plain(x) * std + mean)
    cured.model.eval()
    torch.testing.assert_close(value(cured.model, (x, y)), F.mse_loss(plain(x) * std + mean, y))


def test_targets_far_out_are_learnt_with_the_same_rate():
    def metric(model: nn.Module) -> float:
        x, y = regression().batches[0]  # pyright: ignore[reportIndexIssue]
        return 1 - (F.mse_loss(model(x), y) / y.var(unbiased=False)).item()

    plain = run(regression(metric=metric, rate=0.3), 60, diagnose=False)
    cured = run(regression(metric=metric, rate=0.3), 60, cure=one("standardise_targets"), diagnose=False)
    assert plain.failed or plain.metric < 0.5
    assert cured.metric > 0.9


def test_each_output_has_its_own_units():
    cured = one("standardise_targets").apply(regression(outputs=3))
    (units,) = cured.model._forward_hooks.values()
    assert units.mean.shape == units.std.shape == (3,)
    copied = copy.deepcopy((cured.model, cured.loss))
    assert copied[1].units in copied[0]._forward_hooks.values()


def test_what_is_no_regression_or_is_standardised_is_refused():
    cure = one("standardise_targets")
    assert "no targets of a regression" in str(cure.applies(training(mlp())))
    probabilities = regression()
    probabilities.batches = [(x, torch.rand(32, 1)) for x, _ in probabilities.batches]  # pyright: ignore
    assert "no targets of a regression" in str(cure.applies(probabilities))
    assert "already" in str(cure.applies(regression(scale=1.0, shift=0.5)))
    assert cure.applies(regression(scale=1e-4, shift=0.0)) is None
    by_hand = regression()
    space = {"model": by_hand.model, "loss": by_hand.loss, "batches": by_hand.batches}
    exec(cure.patch(by_hand), space)
    x, y = by_hand.batches[0]  # pyright: ignore[reportIndexIssue]
    cured = cure.apply(regression())
    assert torch.equal(space["loss"](by_hand.model, (x, y)), cured.loss(cured.model, (x, y)))


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_inputs_are_standardised_in_any_unit(unit: float):
    torch.manual_seed(0)
    x = torch.randn(400, 5, dtype=torch.float64) * torch.tensor([1.0, 3.0, 0.2, 0.0, 1.0]) + torch.tensor(
        [0.0, 50.0, 0.0, 1234.567, 0.0]
    )
    x = (x * unit).float()
    x[:, 4] = torch.nan
    x[3, 0] = torch.inf
    (made,) = statistics([(x, None)])(nn.Identity(), (x,))
    assert torch.isfinite(made).all()
    assert made[:, 1:3].std(0).tolist() == pytest.approx([1.0, 1.0], rel=0.01)
    assert not made[:, 3:].any()
    assert made[3, 0] == 0


def test_the_optimizer_is_given_what_it_lacks():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model[-1] = nn.Linear(8, 3)
    case = training(model, optimizer=optimizer)
    cured = one("hold_all").apply(case)
    held = {id(p) for p in cured.optimizer.param_groups[0]["params"]}
    assert all(id(p) in held for p in cured.model.parameters())
    exec(one("hold_all").patch(case), {"model": model, "optimizer": optimizer})
    assert any(p is model[-1].weight for p in optimizer.param_groups[0]["params"])
    assert one("hold_all").applies(case) is not None
