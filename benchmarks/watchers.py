"""Ways to watch a training run: ours, and what one does without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from watched_models import leaves

from undertow.probe import Observer
from undertow.probe.stepping.budget import Budget


class Watcher:
    """The plain loop, watched by nobody; the others override."""

    def attach(self, model: nn.Module, optimizer: Optimizer, clock: Callable[[], float]) -> None: ...
    def before_step(self) -> None: ...
    def after_step(self) -> None: ...
    def close(self) -> None: ...

    @property
    def kind(self) -> str:
        """What the watcher does in the step that comes, where it does not do the same in each."""
        return "step"

    def told(self) -> str:
        """What the watcher says that it cost."""
        return ""


class Ours(Watcher):
    def __init__(self, budget: float | None) -> None:
        self.budget = budget

    def attach(self, model: nn.Module, optimizer: Optimizer, clock: Callable[[], float]) -> None:
        self.observer = Observer(model, optimizer, self.budget)
        self.observer.budget = Budget(self.budget, clock)
        self.observer.budget.wants(0)

    @property
    def kind(self) -> str:
        return "plain" if self.observer._clock.rest.left else self.observer._now.kind

    def close(self) -> None:
        self.observer.close()
        if self.observer.failure is not None:
            raise self.observer.failure

    def told(self) -> str:
        budget = self.observer.budget
        if budget.overhead is None or budget.overhead_later is None:
            return "not measured"
        return f"{budget.overhead:.1%} in all, {budget.overhead_later:.1%} after the first five steps"


class Naive(Watcher):
    """What one writes first: a hook on each leaf module and its output, and a number for each."""

    def attach(self, model: nn.Module, optimizer: Optimizer, clock: Callable[[], float]) -> None:
        self.seen: dict[Any, float] = {}
        self.parameters = dict(model.named_parameters())
        for module in leaves(model):
            module.register_forward_hook(self._forward)

    def _forward(self, module: nn.Module, _args: Any, output: Tensor) -> None:
        values = output.detach()
        self.seen[module, "mean"] = values.mean().item()
        self.seen[module, "std"] = values.std().item()
        self.seen[module, "zeros"] = (values == 0).float().mean().item()

        def backward(gradient: Tensor) -> None:
            self.seen[module, "gradient"] = gradient.norm().item()

        output.register_hook(backward)

    def before_step(self) -> None:
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                self.seen[name, "gradient"] = parameter.grad.norm().item()


class Wandb(Watcher):
    def attach(self, model: nn.Module, optimizer: Optimizer, clock: Callable[[], float]) -> None:
        import wandb  # pyright: ignore[reportMissingImports]: of the extra `frameworks`

        self.run = wandb.init(project="overhead", mode="offline")
        self.run.watch(model, log="all", log_freq=1)

    def after_step(self) -> None:
        self.run.log({"step": 1})

    def close(self) -> None:
        self.run.finish()


class TensorBoard(Watcher):
    def attach(self, model: nn.Module, optimizer: Optimizer, clock: Callable[[], float]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer, self.model, self.step = SummaryWriter(), model, 0

    def before_step(self) -> None:
        for name, parameter in self.model.named_parameters():
            self.writer.add_histogram(name, parameter, self.step)
            if parameter.grad is not None:
                self.writer.add_histogram(f"{name}.grad", parameter.grad, self.step)
        self.step += 1

    def close(self) -> None:
        self.writer.close()


WATCHERS: dict[str, Callable[[], Watcher]] = {
    "plain": Watcher,
    "undertow, every step": lambda: Ours(None),
    "undertow, budget 2 %": lambda: Ours(0.02),
    "naive hooks": Naive,
    "wandb.watch": Wandb,
    "TensorBoard histograms": TensorBoard,
}
