"""One run: the loop, its numbers, and how it fails."""

import math

import pytest
import torch
from cure_nets import mlp, training
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from undertow.cures import Training, Trial, chosen, run
from undertow.foundation import BatchError, InputError


def fresh(act: type[nn.Module] = nn.Tanh, **more) -> Training:
    torch.manual_seed(0)
    return training(mlp(act), **more)


def test_the_loop_is_the_users_loop():
    """The same losses as a loop written out by hand, with clipping and momentum."""
    given = fresh(metric=lambda model: 1.0, clip=0.01)
    model, losses = fresh().model, []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in given.batches:  # pyright: ignore[reportGeneralTypeIssues]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()
        losses.append(loss.item())
    trial = run(given)
    assert trial.losses == tuple(losses)
    assert (trial.metric, trial.reason) == (1.0, "")


@pytest.mark.parametrize("diagnose", [True, False])
def test_a_trial_is_the_same_every_time_and_watching_changes_nothing(diagnose: bool):
    def once(watched: bool) -> Trial:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
        return run(training(model), 20, seed=3, cure=chosen("relu")[0], diagnose=watched)

    assert once(diagnose).losses == once(True).losses
    assert once(diagnose) == once(diagnose)


def test_a_cure_shifts_neither_data_nor_dropout():
    """A cure that draws weights, and one that draws none, see the same batches and masks."""
    seen: dict[str, list[torch.Tensor]] = {}

    def spied(name: str) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
        data = TensorDataset(torch.randn(64, 6), torch.randint(3, (64,)))
        log = seen.setdefault(name, [])

        def loss(model, batch):
            log.append(batch[0].clone())
            if model.training:
                log.append(model[2](torch.ones(5)))
            return nn.functional.cross_entropy(model(batch[0]), batch[1])

        given = Training(
            model,
            torch.optim.SGD(model.parameters(), 0.1),
            loss,
            DataLoader(data, batch_size=8, shuffle=True),
            metric=lambda m: 0.0,
        )
        log.clear()
        run(given, 8, seed=1, cure=chosen(name)[0])
        log[:] = log[-16:]

    spied("matched_init")
    spied("clip_norm")
    assert all(torch.equal(a, b) for a, b in zip(seen["matched_init"], seen["clip_norm"], strict=True))


def test_without_a_metric_the_last_fifth_is_held_out():
    given = fresh()
    trial = run(given)
    assert len(trial.losses) == 8
    assert -3 < trial.metric < 0
    kept = run(fresh(held_out=list(given.batches)[:2]))  # pyright: ignore[reportArgumentType]
    assert len(kept.losses) == 10


def test_more_steps_than_batches_go_round_and_a_callable_is_called_again():
    given = fresh(batches=3, metric=lambda model: 0.0, lr=0.0)
    rounds = run(given, 7).losses
    assert rounds[:3] == rounds[3:6]
    assert rounds[6] == rounds[0]
    batches, given.batches = given.batches, lambda: iter(batches)  # pyright: ignore
    assert run(given, 7).losses == rounds


def test_divergence_is_a_result():
    trial = run(fresh(nn.ReLU, lr=1e30, metric=lambda model: 0.25))
    assert trial.failed
    assert "no longer finite" in trial.reason
    assert len(trial.losses) < 10
    assert trial.metric == 0.25  # the metric of the broken network is what the user would see
    assert "unstable_lr" in trial.kinds
    assert math.isnan(run(fresh(nn.ReLU, lr=1e30)).metric)


@pytest.mark.parametrize("error", [ValueError("odd batch"), MemoryError(), torch.OutOfMemoryError("no memory")])
def test_an_exception_is_a_result(error: Exception):
    calls = iter(range(100))

    def loss(model, batch):
        if next(calls) == 4:
            raise error
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    trial = run(fresh(loss=loss, metric=lambda model: 1.0))
    assert math.isnan(trial.metric)
    assert len(trial.losses) == 4
    assert type(error).__name__ in trial.reason or "odd batch" in trial.reason


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"batches": []}, BatchError, "no batches"),
        ({"batches": iter([1])}, BatchError, "lambda: my_batches"),
        ({"batches": 3}, BatchError, "type int"),
        ({"batches": [(torch.randn(4, 6), torch.zeros(4).long())]}, BatchError, "a single batch and no metric"),
        ({"metric": lambda model: "good"}, InputError, "a metric that returned a str"),
        ({"metric": lambda model: torch.ones(3)}, InputError, "a metric that returned a Tensor"),
    ],
)
def test_bad_input(change, kind, message):
    given = fresh()
    for name, value in change.items():
        setattr(given, name, value)
    with pytest.raises(kind, match=message):
        run(given, guarded=False)
