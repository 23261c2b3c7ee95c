"""A program is not told of: what trains in it is found by its calls and its optimizers' steps."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
import torch.optim.optimizer as torch_optimizer
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils.checkpoint import checkpoint

from undertow.probe.discovery import LONGEST, STALE, Discovery
from undertow.record import Recording

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo's own, of an input with a graph


def mlp(width: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 4))


def steps(model: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, count: int = 6) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.randn(5, 4)).square().mean().backward()
        optimizer.step()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), 0.01)


def everywhere() -> int:
    """Hooks on all modules and all optimizers."""
    modules = [h for n, hooks in vars(torch_module).items() if n.startswith("_global_") and "hooks" in n for h in hooks]
    return sum(map(len, (modules, *map(vars(torch_optimizer).get, OPTIMIZER_HOOKS))))


OPTIMIZER_HOOKS = ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")


@pytest.fixture
def budget() -> float | None:
    return None


@pytest.fixture
def discovery(budget: float | None) -> Iterator[Discovery]:
    gc.collect()
    before = everywhere()
    found = Discovery(budget)
    yield found
    found.close()
    assert found.failure is None
    assert everywhere() == before


def sites(recording: Recording) -> list[str]:
    return [e.site.name for e in recording.snapshots[0].ledger]


def test_one_model_is_measured_from_its_first_pass_on(discovery: Discovery) -> None:
    model = mlp()
    steps(model, sgd(model))
    (recording,) = discovery.close()
    assert recording.name == "model"
    assert len(recording.steps) == len(recording.snapshots) == 6
    assert sites(recording) == ["0#0", "1#0", "2#0"]


def test_the_loss_is_read_where_backward_is_called(discovery: Discovery) -> None:
    model, losses = mlp(), []
    optimizer = sgd(model)
    for _ in range(4):
        optimizer.zero_grad()
        total = 0.0
        for _ in range(2):  # accumulated over two passes
            loss = model(torch.randn(5, 4)).square().mean() / 2
            loss.backward()
            total += loss.item()
        optimizer.step()
        losses.append(total)
    (recording,) = discovery.close()
    assert [reading.value for reading in recording.losses] == pytest.approx(losses)


def test_once_all_is_known_calls_are_not_listened_to(discovery: Discovery, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp()
    optimizer = sgd(model)
    monkeypatch.setattr(gc, "get_objects", lambda: [model, optimizer])  # not those of other tests
    steps(model, optimizer, 2)
    assert torch_module._has_any_global_hook()
    steps(model, optimizer, 2)
    assert not torch_module._has_any_global_hook()


def test_a_gan_has_two_models_and_two_optimizers(discovery: Discovery) -> None:
    generator, critic = mlp(), nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1))
    of_generator, of_critic = sgd(generator), sgd(critic)
    for step in range(12):
        with torch.no_grad():
            fake = generator(torch.randn(5, 4))
        of_critic.zero_grad()
        (critic(fake).mean() - critic(torch.randn(5, 4)).mean()).backward()
        of_critic.step()
        if step % 4 == 3:  # long after the critic's first steps
            of_generator.zero_grad()
            (-critic(generator(torch.randn(5, 4))).mean()).backward()
            of_generator.step()
    found = {r.name: r for r in discovery.close()}
    assert set(found) == {"generator", "critic"}
    assert len(found["critic"].steps) == 12
    assert len(found["generator"].steps) == len(found["generator"].snapshots) == 3
    assert sites(found["generator"])[:3] == ["0#0", "1#0", "2#0"]


class Trainer(nn.Module):
    """Holds the model and is itself never called."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.head = mlp(), nn.Linear(4, 2)

    def train_step(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        F.cross_entropy(self.head(self.net(torch.randn(5, 4))), torch.zeros(5, dtype=torch.int64)).backward()
        optimizer.step()


def test_the_modules_that_are_called_count_not_those_that_hold_them(discovery: Discovery) -> None:
    trainer = Trainer()
    optimizer = sgd(trainer)
    for _ in range(4):
        trainer.train_step(optimizer)
    found = discovery.close()
    assert [r.name for r in found] == ["net", "head"]
    assert all(len(r.snapshots) == 4 for r in found)


def test_a_loss_with_nothing_to_train_and_a_teacher_are_no_models(discovery: Discovery) -> None:
    model, teacher, loss = mlp(), mlp().eval(), nn.MSELoss()
    optimizer = sgd(model)
    for _ in range(3):
        x = torch.randn(5, 4)
        optimizer.zero_grad()
        loss(model(x), teacher(x).detach()).backward()
        optimizer.step()
    assert [r.name for r in discovery.close()] == ["model"]


def test_a_part_called_alone_gives_way_to_the_whole(discovery: Discovery) -> None:
    model = mlp()
    model[0](torch.randn(5, 4))
    steps(model, sgd(model), 3)
    model[0](torch.randn(5, 4))  # and afterwards it is known already
    assert [(r.name, len(r.steps)) for r in discovery.close()] == [("model", 3)]


class Written(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight)


def test_a_model_that_is_never_called_is_found_by_its_parameters(discovery: Discovery) -> None:
    model = Written()
    steps(lambda x: model.forward(x), sgd(model), 5)
    (recording,) = discovery.close()
    assert recording.name == "Written"
    assert len(recording.steps) >= 3


@pytest.mark.parametrize("budget", [0.0])
def test_parameters_of_no_module_are_not_waited_for(discovery: Discovery) -> None:
    weight = nn.Parameter(torch.randn(4, 4))
    steps(lambda x: x @ weight, torch.optim.SGD([weight], 0.1), LONGEST + 2)
    assert not torch_module._has_any_global_hook()
    assert discovery.close() == []
    assert discovery.seen.steps == LONGEST + 2


def test_an_optimizer_that_comes_late_brings_its_model(discovery: Discovery) -> None:
    first, second = mlp(), mlp(6)
    steps(first, sgd(first), 10)
    steps(second, sgd(second), 10)
    found = {r.name: r for r in discovery.close()}
    assert len(found["model"].steps) == 10
    assert len(found["model (2)"].steps) >= 8
    assert sites(found["model (2)"])[:3] == ["0#0", "1#0", "2#0"]


@pytest.mark.parametrize("budget", [0.0])
def test_models_of_a_long_search_are_let_go(discovery: Discovery) -> None:
    alive = []
    for _ in range(4):
        model = mlp()
        alive.append(weakref.ref(model))
        steps(model, sgd(model), STALE // 2)
    del model
    gc.collect()
    assert sum(ref() is not None for ref in alive) < 4
    assert len(discovery.close()) == 4


def test_checkpointed_parts_and_a_closure(discovery: Discovery) -> None:
    model, outer = mlp(), nn.Linear(4, 4)
    whole = nn.ModuleList([model, outer])
    optimizer = torch.optim.LBFGS(whole.parameters(), max_iter=3)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = checkpoint(model, outer(torch.ones(5, 4)), use_reentrant=False).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert sorted(r.name for r in discovery.close()) == ["model", "outer"]


def test_a_lazy_model_and_one_that_raises(discovery: Discovery) -> None:
    model = nn.Sequential(nn.LazyLinear(6), nn.ReLU(), nn.LazyLinear(4))
    model(torch.randn(2, 4))
    with pytest.raises(RuntimeError, match="shapes"):
        model(torch.randn(2, 3))
    steps(model, sgd(model), 4)
    (recording,) = discovery.close()
    assert len(recording.snapshots) == 4


@pytest.mark.parametrize("part", [False, True])
def test_a_compiled_model_is_measured_from_its_first_pass_on(discovery: Discovery, part: bool) -> None:
    model = mlp()
    if part:
        model[2] = torch.compile(model[2], backend="aot_eager")
    whole = model if part else torch.compile(model, backend="aot_eager")
    steps(whole, sgd(model), 4)
    (recording,) = discovery.close()
    assert recording.name == ("Sequential" if part else "model")
    assert len(recording.steps) == (3 if part else 4)
    assert all(s.stage.eager for s in recording.snapshots)
    assert sites(recording) == ["0#0", "1#0", "2#0"]


def test_without_training_it_tells_what_ran() -> None:
    discovery = Discovery(None)
    model = mlp()
    with torch.no_grad():
        model(torch.randn(2, 4))
    assert discovery.close() == []
    assert (discovery.seen.evaluated, discovery.seen.trained, discovery.seen.name) == (1, 0, "Sequential")


def test_an_error_of_ours_is_kept_and_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_value: object) -> str:
        raise OSError("a planted fault")

    monkeypatch.setattr("undertow.probe.discovery.variable_name", broken)
    discovery = Discovery(None)
    model = mlp()
    steps(model, sgd(model), 2)
    assert discovery.close() == []
    assert isinstance(discovery.failure, OSError)
    assert not torch_module._has_any_global_hook()
