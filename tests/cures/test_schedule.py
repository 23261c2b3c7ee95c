"""Schedules of the learning rate: copied with the optimizer, carried over to another, scaled as a whole."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cure_nets import mlp, training
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as lrs

from undertow.cures import Training, chosen
from undertow.cures.copying import copied
from undertow.cures.training import batches_afresh, check, length
from undertow.cures.trials.trial import run
from undertow.foundation import InputError

STEPS = 12
MAKERS: dict[str, Callable[[Optimizer], Any]] = {
    "step": lambda o: lrs.StepLR(o, 4),
    "exponential": lambda o: lrs.ExponentialLR(o, 0.9),
    "linear": lambda o: lrs.LinearLR(o, 0.1, total_iters=5),
    "cosine": lambda o: lrs.CosineAnnealingLR(o, 10, eta_min=0.01),
    "restarts": lambda o: lrs.CosineAnnealingWarmRestarts(o, 5, eta_min=0.01),
    "lambda": lambda o: lrs.LambdaLR(o, lambda t: min(1.0, t / 5)),  # begins at 0
    "polynomial": lambda o: lrs.PolynomialLR(o, 10),
    "cycle": lambda o: lrs.OneCycleLR(o, 0.5, total_steps=20, cycle_momentum=False),
    "cyclic": lambda o: lrs.CyclicLR(o, 0.1, 0.5, 4, cycle_momentum=False),
    "sequence": lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1, total_iters=4), lrs.CosineAnnealingLR(o, 8)], [4]),
    "chain": lambda o: lrs.ChainedScheduler([lrs.LinearLR(o, 0.1, total_iters=4), lrs.ExponentialLR(o, 0.9)]),
}


def scheduled(name: str) -> Training:
    torch.manual_seed(0)
    model = mlp()
    sets = [{"params": model[:2].parameters(), "lr": 0.2}, {"params": model[2:].parameters()}]
    optimizer = SGD(sets, lr=0.1, momentum=0.9)
    return training(model, optimizer=optimizer, scheduler=MAKERS[name](optimizer))


def rates(given: Training) -> list[list[float]]:
    found = []
    for _ in range(STEPS):
        found.append([float(group["lr"]) for group in given.optimizer.param_groups])
        given.optimizer.step()
        given.scheduler.step()
    return found


@pytest.mark.parametrize("name", MAKERS)
def test_a_copy_goes_through_the_same_rates(name: str):
    given = scheduled(name)
    copy = copied(given)
    first = rates(copy)
    assert copy.scheduler.optimizer is copy.optimizer
    assert first == rates(given)


@pytest.mark.parametrize("name", MAKERS)
def test_a_learning_rate_is_scaled_with_its_schedule(name: str):
    given = scheduled(name)
    slower = chosen("learning_rate ×0.1")[0].apply(given)
    for before, after in zip(rates(given), rates(slower), strict=True):
        assert after == pytest.approx([0.1 * rate for rate in before])


@pytest.mark.parametrize("name", MAKERS)
def test_another_optimizer_takes_the_schedule_over(name: str):
    given = scheduled(name)
    adam = chosen("adam")[0].apply(given)
    assert type(adam.optimizer) is torch.optim.Adam
    base = float(given.optimizer.param_groups[0].get("initial_lr", 0))
    for before, after in zip(rates(given), rates(adam), strict=True):
        assert after == pytest.approx([rate * 1e-3 / base for rate in before])


def test_a_schedule_that_moves_the_momentum_stays_with_its_optimizer():
    given = scheduled("step")
    given.scheduler = lrs.OneCycleLR(given.optimizer, 0.5, total_steps=20)
    assert "momentum" in str(chosen("adam")[0].applies(given))


def test_the_rate_is_raised_over_a_tenth_of_the_steps():
    given = training(mlp(), lr=0.5, batches=50)
    warm = chosen("warm_up")[0].apply(given)
    seen = []
    for _ in range(7):
        seen.append(warm.optimizer.param_groups[0]["lr"])
        warm.optimizer.step()
        warm.scheduler.step()
    assert seen == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])
    assert "LinearLR" in str(chosen("warm_up")[0].applies(warm))
    assert "10 steps" in str(chosen("warm_up")[0].applies(training(mlp())))


def test_a_trial_steps_the_schedule():
    def metric(steps: int, still: bool) -> float:
        torch.manual_seed(0)
        given = training(mlp())
        given.held_out = list(batches_afresh(given))[:1]
        if still:
            given.scheduler = lrs.LambdaLR(given.optimizer, lambda t: float(t == 0))  # one step, then none
        return run(given, steps, diagnose=False).metric

    assert metric(1, True) == metric(6, True)
    assert metric(1, False) != metric(6, False)


def test_the_length_of_a_run():
    given = training(mlp())
    assert length(given) == 10
    given.batches = lambda: iter([(torch.zeros(1), torch.zeros(1))] * 7)
    assert length(given) == 7


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        (lambda o: object(), "with step()"),
        (lambda o: lrs.ReduceLROnPlateau(o), "needs a metric"),
        (lambda o: lrs.StepLR(SGD(mlp().parameters(), lr=0.1), 3), "over another optimizer"),
    ],
)
def test_a_wrong_scheduler_is_refused(scheduler: Callable[[Optimizer], Any], words: str):
    given = training(mlp())
    given.scheduler = scheduler(given.optimizer)
    with pytest.raises(InputError, match=words.replace("(", r"\(").replace(")", r"\)")):
        check(given)
