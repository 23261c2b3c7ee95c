"""Other tools for torch, each with its own defaults and as its own README uses it; verdicts mapped in their favour.

`pip install -e '.[peers]'` brings them. A verdict that could be meant for several of our kinds counts for each of
them; one that fits none (`other`) counts only as an alarm. What a tool itself calls information is no alarm.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable
from typing import Any

import torch
from benchmarks.score.outcome import Said, Tool
from benchmarks.score.training import Training

MAPPED: dict[str, dict[str, tuple[str, ...]]] = {
    "torchmortem": {
        "Vanishing gradients": ("vanishing",),
        "Exploding gradients": ("exploding",),
        "Gradient stalling": ("vanishing", "dead", "disconnected", "symmetric"),
        "Dead units": ("dead",),
        "Activation saturation": ("saturated",),
        "Update ratio too low": ("too_small_lr", "vanishing"),
        "Update ratio too high": ("unstable_lr", "exploding"),
        "Weight norm explosion": ("unstable_lr", "exploding"),
        "Stagnant weight norms": ("too_small_lr",),
        "Training divergence": ("unstable_lr", "exploding", "nonfinite"),
        "Loss plateau": ("too_small_lr", "vanishing", "loss_mismatch"),
        "Rank collapse": ("symmetric",),
    },
    "neuraldbg": {
        "vanishing": ("vanishing",),
        "exploding": ("exploding",),
        "saturated": ("saturated", "vanishing"),
        "dead": ("dead",),
        "loss_plateau": ("too_small_lr", "loss_mismatch"),
        "loss_spike": ("unstable_lr",),
        "diverging": ("unstable_lr", "exploding"),
        "nan_detected": ("nonfinite",),
        "inf_detected": ("nonfinite", "exploding"),
    },
    "torchdiag": {
        "VANISH": ("vanishing",),
        "EXPLODE": ("exploding",),
        "no_grad": ("disconnected",),
        "dead neurons": ("dead",),
    },
    "traintools": {
        "has non-finite": ("nonfinite",),
        "gradient appears vanished": ("vanishing", "dead", "symmetric", "loss_mismatch"),
        "gradient is very large": ("exploding",),
        "update/weight ratio is high": ("unstable_lr", "exploding"),
        "update/weight ratio is tiny": ("too_small_lr", "vanishing"),
        "abs max": ("saturated",),
        "no gradients found": ("disconnected",),
        "dormant": ("dead",),
    },
}
"""A part of the tool's own verdict, and the kinds that it counts for."""


def mapped(tool: str, verdicts: Iterable[str]) -> list[Said]:
    """The kinds of a tool's verdicts."""
    kinds: set[str] = set()
    for verdict in verdicts:
        fitting = [k for part, names in MAPPED[tool].items() if part.lower() in verdict.lower() for k in names]
        kinds.update(fitting or ("other",))
    return [Said(kind) for kind in sorted(kinds)]


def torchmortem(training: Training) -> list[Said]:
    """`with Autopsy(model, optimizer=…) as autopsy: … autopsy.step(loss=…)`; its warnings and critical findings."""
    from torchmortem import Autopsy  # pyright: ignore[reportMissingImports]
    from torchmortem.types import Severity  # pyright: ignore[reportMissingImports]

    with Autopsy(training.model, optimizer=training.optimizer) as autopsy:
        training.train(lambda _step, loss: autopsy.step(loss=loss))
    report: Any = autopsy.get_report()
    return mapped("torchmortem", (f.title for f in report.findings if f.severity >= Severity.WARNING))


def neuraldbg(training: Training) -> list[Said]:
    """`with NeuralDbg(model) as dbg: … dbg.record_loss(…)`; every event but a return to health and a shift of data."""
    from neuraldbg import NeuralDbg  # pyright: ignore[reportMissingImports]

    with NeuralDbg(training.model) as debugger:
        training.train(lambda _step, loss: debugger.record_loss(loss))
    states = {str(getattr(e.to_state, "value", e.to_state)) for e in debugger.events}
    return mapped("neuraldbg", states - {"healthy", "normal", "stable", "anomalous", "distribution_shift"})


def torchdiag(training: Training) -> list[Said]:
    """`check_gradients` after backward in the first step and every twentieth, `check_dead_neurons` at the end."""
    import torchdiag as diag  # pyright: ignore[reportMissingImports]

    verdicts: set[str] = set()

    def look(step: int) -> None:
        if step % 20 == 0:
            verdicts.update(v["status"] for v in diag.check_gradients(training.model).values())

    with _before_each_step(training, look), contextlib.redirect_stdout(io.StringIO()):
        training.train()
        inputs = training.batches[0]
        inputs = inputs[0] if isinstance(inputs, tuple | list) else inputs
        if isinstance(inputs, torch.Tensor):
            dead = diag.check_dead_neurons(training.model, inputs)
            verdicts.update("dead neurons" for v in dead.values() if v["dead_pct"] > 20)
    return mapped("torchdiag", verdicts - {"OK"})


def traintools(training: Training) -> list[Said]:
    """`GradientHealthMonitor` before each step, `BatchInspector` on each batch, `PlasticityProbe` at the end.

    Its README clips at 1.0 and reports each gradient above: that is left out, as it is no verdict.
    """
    from traintools import BatchInspector, GradientHealthMonitor, PlasticityProbe  # pyright: ignore[reportMissingImports]

    health, batches, verdicts = GradientHealthMonitor(), BatchInspector(), set[str]()
    probe = PlasticityProbe(training.model)

    def look(step: int) -> None:
        rate = training.optimizer.param_groups[0]["lr"]
        verdicts.update(health.inspect(training.model, step=step, lr=rate).warnings)
        batch = training.batches[min(step, len(training.batches) - 1)]
        if isinstance(batch, tuple | list) and isinstance(batch[0], torch.Tensor):
            verdicts.update(batches.inspect(batch[0], batch[1], step=step).warnings)

    with _before_each_step(training, look):
        training.train()
    verdicts.update(flag for layer in probe.measure(step=0).layers for flag in layer.flags if "ormant" in flag.lower())
    return mapped("traintools", verdicts)


def gradscope(training: Training) -> list[Said]:
    """`with gradscope.attach(model, optimizer) as run: …`."""
    import gradscope as scope  # pyright: ignore[reportMissingImports]

    alerts: list[str] = []
    with scope.attach(training.model, training.optimizer) as run:
        run.add_alert_handler(lambda payload: alerts.append(payload["type"]))
        training.train()
    return [Said("vanishing" if "vanish" in a else "exploding" if "explode" in a else "other") for a in set(alerts)]


@contextlib.contextmanager
def _before_each_step(training: Training, look: Callable[[int], None]) -> Any:
    steps = 0

    def hook(_optimizer: torch.optim.Optimizer, *_: object) -> None:
        nonlocal steps
        look(steps)
        steps += 1

    handle = training.optimizer.register_step_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _quiet(tool: Tool) -> Tool:
    """Without what it prints and logs at every step."""

    def run(training: Training) -> list[Said]:
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                return tool(training)
        finally:
            logging.disable(level)

    run.__doc__ = tool.__doc__
    return run


PEERS: dict[str, Tool] = {
    tool.__name__: _quiet(tool) for tool in (torchmortem, neuraldbg, torchdiag, traintools, gradscope)
}
