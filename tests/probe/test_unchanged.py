"""Watching changes nothing: not one bit of the training, and nothing that stays behind."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torch.optim.optimizer as torch_optimizer
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from watched_runs import MODELS, OPTIMIZERS, Job

from undertow.diagnosis import examine, watch

RUNS = [(name, optimizer) for name in MODELS for optimizer in OPTIMIZERS]


@cache
def unwatched(name: str, optimizer: str = "sgd") -> Job:
    job = Job(name, optimizer)
    job.train()
    return job


def watched(name: str, optimizer: str = "sgd", budget: float | None = None) -> tuple[Job, Any]:
    job = Job(name, optimizer)
    with watch(job.model, job.optimizer, budget=budget) as run:
        job.train()
    return job, run


def hooks(model: nn.Module) -> list[Any]:
    """Every hook that is left anywhere: on the modules, on all modules, on all optimizers."""
    per_module = [
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_forward_hooks_always_called",
    ]
    own = [h for m in model.modules() for name in per_module for h in getattr(m, name)]
    everywhere = [
        h for n, hooks in vars(torch_module).items() if n.startswith("_global_") and "hooks" in n for h in hooks
    ]
    optimizers = [*torch_optimizer._global_optimizer_pre_hooks, *torch_optimizer._global_optimizer_post_hooks]
    on_tensors = [h for p in model.parameters() for h in p._backward_hooks or ()]
    return [*own, *everywhere, *optimizers, *on_tensors]


def assert_same(job: Job, other: Job) -> None:
    assert job.losses == other.losses
    assert all(torch.equal(a, b) for a, b in zip(job.final, other.final, strict=True))


@pytest.mark.parametrize(("name", "optimizer"), RUNS)
def test_losses_weights_and_random_state_are_bit_identical(name: str, optimizer: str) -> None:
    job, run = watched(name, optimizer)
    assert run.recording.snapshots[-1].ledger.path
    assert len(run.recording.snapshots) == job.steps
    assert_same(job, unwatched(name, optimizer))


@pytest.mark.parametrize("name", MODELS)
def test_after_close_no_hook_is_left(name: str) -> None:
    job, _ = watched(name)
    assert hooks(job.model) == []
    assert all(not getattr(job.optimizer, n) for n in vars(job.optimizer) if n.endswith("_hooks"))


@pytest.mark.parametrize("name", ["cnn", "residual", "transformer"])
def test_the_model_pickles_and_copies_while_watched_and_after(name: str) -> None:
    job = Job(name, steps=2)
    x = job.batch()[0]
    with watch(job.model, job.optimizer, budget=None) as run:
        job.train()
        during = [copy.deepcopy(job.model), pickle.loads(pickle.dumps(job.model))]
        measured = len(run.recording.snapshots)
        for twin in during:  # a copy's passes are its own
            F.cross_entropy(twin(x), torch.zeros(8, dtype=torch.int64)).backward()
        job.train()
    assert len(run.recording.snapshots) == measured + 2
    after = [copy.deepcopy(job.model), pickle.loads(pickle.dumps(job.model))]
    torch.save(job.model, io.BytesIO())
    job.model.eval()
    for twin in after:
        assert hooks(twin) == []
        assert torch.equal(twin.eval()(x), job.model(x))


@pytest.mark.parametrize("training", [True, False])
def test_examine_leaves_gradients_buffers_random_state_and_mode(training: bool) -> None:
    job = Job("cnn", steps=3)
    job.model.insert(0, nn.Dropout(0.2))  # type: ignore[operator]
    job.train()
    job.model.train(training)
    before = [p.grad for p in job.model.parameters()]
    kept, values = job.state(), [g.clone() for g in before if g is not None]
    batch = job.batch()
    assert examine(job.model, batch, F.cross_entropy).ledger.path
    after = [p.grad for p in job.model.parameters()]
    assert all(a is b for a, b in zip(after, before, strict=True))
    assert all(torch.equal(a, b) for a, b in zip([g for g in after if g is not None], values, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(job.state(), kept, strict=True))
    assert {m.training for m in job.model.modules()} == {training}
    assert hooks(job.model) == []


@pytest.mark.parametrize("at", [1, 40, 400])
def test_an_error_of_ours_is_one_warning_and_the_training_goes_on(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    from undertow.native import Panel, statistics
    from undertow.probe.tracing import account, trace

    calls = 0

    def failing(measure: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= at:
                raise OSError("a planted fault")
            return measure(*args)

        return counted

    for module in (trace, account):  # a pass that is traced; then, passes that follow its plan
        monkeypatch.setattr(module, "statistics", failing(statistics))
    monkeypatch.setattr(Panel, "put", failing(Panel.put))
    job = Job("residual")
    warned = pytest.warns(RuntimeWarning, match="stopped observing at step .*planted fault")
    with warned as said, watch(job.model, job.optimizer, budget=None) as run:
        job.train()
    assert len(said) == 1
    assert_same(job, unwatched("residual"))
    assert any("planted fault" in str(n) for n in run.recording.not_observed.values())
    assert hooks(job.model) == []


def test_where_warnings_are_errors_ours_is_only_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from undertow.foundation import warn
    from undertow.probe.stepping import gradients

    def failing(*_args: Any) -> Any:
        raise OSError("a planted fault")

    monkeypatch.setattr(gradients.Panel, "put_all", failing)
    monkeypatch.setattr(warn, "told_instead", lambda message: print(message))
    job = Job("residual")
    with watch(job.model, job.optimizer, budget=None):
        job.train()
    assert_same(job, unwatched("residual"))
    assert capsys.readouterr().out.count("a planted fault") == 1


class Fragile(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.broken = nn.Linear(8, 3), False

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        if self.broken:
            raise KeyError("the user's own error")
        return torch.tanh(x)


def test_a_forward_that_raises_leaves_nothing_open() -> None:
    model, x = Fragile(), torch.randn(4, 8)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    outside = len(hooks(nn.Linear(1, 1)))
    with watch(model, optimizer, budget=None) as run:
        watching = len(hooks(model))
        model.broken = True
        with pytest.raises(KeyError, match="the user's own error"):
            model(x)
        assert len(hooks(model)) <= watching  # those that wait for a part that is called by itself are gone
        assert torch.overrides._len_torch_function_stack() == 0  # type: ignore[attr-defined]
        model.broken = False
        model(x).sum().backward()
        optimizer.step()
    assert [e.site.name for e in run.recording.snapshots[0].ledger] == ["layer#0", "forward:tanh#0"]
    assert len(hooks(model)) == outside


def test_the_users_own_error_passes_through_the_watch_and_closes_it() -> None:
    job = Job("mlp")
    job.shape = (8, 7)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), watch(job.model, job.optimizer):
        job.train()
    assert hooks(job.model) == []


def test_the_budget_decides_how_many_steps_are_measured() -> None:
    _, every = watched("mlp", budget=None)
    assert [s.step for s in every.recording.snapshots] == list(range(20))
    assert [s.ledger.step for s in every.recording.snapshots] == list(range(20))
    job, some = watched("mlp", budget=0.0)
    measured = [s.step for s in some.recording.snapshots]
    assert measured[:5] == [0, 1, 2, 3, 4]
    assert len(measured) < 12
    assert {*measured} < {s.step for s in some.recording.steps} < {*range(20)}
    assert some.recording.steps_seen == 20
    assert job.losses == unwatched("mlp").losses
    assert some.recording.overhead is not None
    assert every.recording.overhead is None


def test_evaluation_passes_are_not_observed() -> None:
    job = Job("mlp", steps=2)
    with watch(job.model, job.optimizer, budget=None) as run:
        job.train()
        job.model.eval()
        with torch.no_grad():
            job.model(job.batch()[0])
        job.model(job.batch()[0]).sum().backward()
    assert [s.step for s in run.recording.snapshots] == [0, 1]
