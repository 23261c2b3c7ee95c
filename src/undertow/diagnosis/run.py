"""`watch` and `examine`: the two ways to a diagnosis."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from undertow.diagnosis.diagnosis import Diagnosis
from undertow.diagnosis.judge import judge
from undertow.diagnosis.stopping import Stop, checked
from undertow.foundation import Finding, InputError, StoppedError
from undertow.probe import Observer, measure
from undertow.probe.describe import describe
from undertow.record import LossReading, Recording
from undertow.record.runfile import RunFile


class Run:
    """A training run under observation; use it as a context manager around the user's own loop."""

    def __init__(self, observer: Observer, file: RunFile | None = None, stop: Stop | None = None) -> None:
        self._observer, self._file, self._stop = observer, file, stop
        if file is not None:
            file.follow(observer.recording, describe(observer.model))

    @property
    def recording(self) -> Recording:
        return self._observer.recording

    @property
    def path(self) -> Path | None:
        """Where the run file is: the path that was asked for, or a numbered one where a file was there already."""
        return self._file.path if self._file else None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()

    def log(self, loss: float | Tensor) -> None:
        """Note the loss of a step; optional.

        Without it the loss is read where `backward()` is called, in the steps that are read.  From the first call on
        what is logged counts alone.
        """
        value = loss.item() if isinstance(loss, Tensor) else float(loss)
        if self._observer.notes_loss:
            self._observer.notes_loss, self.recording.losses = False, []
        self.recording.add(LossReading(self._observer.step, value))

    def close(self) -> None:
        """Take every hook off, and finish the run file; the model is as it was before."""
        self._observer.close()
        if self._stop is not None:
            self._stop.close()
        if self._file is not None:
            self._file.follow(self.recording, describe(self._observer.model))  # lazy modules know their shapes now
            self._file.close()

    def diagnose(self) -> Diagnosis:
        """What the run shows so far.  Raises NothingObservedError where no backward pass was seen."""
        return judge(self.recording)


def watch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    budget: float | None = 0.02,
    path: str | PathLike[str] | None = None,
    stop_on: Literal["critical", "warning"] | None = None,
) -> Run:
    """Observe a training loop, which stays as it is.

    ::

        with ut.watch(model, optimizer=optimizer) as run:
            for x, y in batches:
                ...
        print(run.diagnose().findings)

    Parameters
    ----------
    model:
        Its forward passes in training mode are seen, with every torch operation in them.
    optimizer:
        Its steps are counted; without one, those of every optimizer that holds a parameter of the model.
    budget:
        Share of the run's time that whole measurements may cost: the first five steps are always measured, later ones
        as often as the budget allows; and a few more than that where a gradient leaves the range of its own past.
        None measures every step.
    path:
        The run file to write while the run lasts, such as ``run.undertow`` (`undertow.load` reads it, also after the
        process was killed).  A file that is there stays: the new one is then ``run-2.undertow``, see `Run.path`.  Of
        several ranks the first writes it.
    stop_on:
        Judge the run while it lasts, within the budget, and end it by StoppedError where a finding of this severity or
        above is made twice in a row.  It is raised out of `optimizer.step()`, which has done its work; the run, its
        file and its diagnosis are as after any other end.  Of several ranks the first is stopped.

    Raises
    ------
    ModelError
        No parameters, or all of them frozen.
    InputError
        A budget outside 0 … 1, or a `stop_on` that is no severity.
    OutputError
        The run file can't be made.
    """
    if budget is not None and not 0 <= budget <= 1:
        raise InputError(f"budget={budget!r}", "a share of the run's time between 0 and 1, or None", "budget=0.02")
    severity = checked(stop_on) if stop_on is not None else None
    observer = Observer(model, optimizer, budget)
    if not _is_first():
        return Run(observer)
    try:
        file = RunFile(path) if path is not None else None
    except BaseException:
        observer.close()
        raise
    stop = Stop(severity, partial(_stopped, severity), budget) if severity is not None else None
    observer.recording.sinks += [sink for sink in (file, stop) if sink is not None]
    return Run(observer, file, stop)


def _stopped(severity: str, finding: Finding) -> StoppedError:
    return StoppedError(
        str(finding),
        f"a run without a finding that is {severity}",
        "run.diagnose() for the whole diagnosis, or ut.watch(model) without stop_on",
    )


def _is_first() -> bool:
    """Whether this is the first of the ranks; the launcher tells before torch.distributed is set up."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return os.environ.get("RANK", "0") == "0"


def examine(model: nn.Module, batch: Any, loss: Callable[..., Tensor], *, unroll: bool = False) -> Diagnosis:
    """Diagnose one forward and backward pass; nothing is trained and nothing of the model changed.

    Parameters
    ----------
    model:
        Used in the mode it is in (training or evaluation).
    batch:
        `(inputs, target)`, a dict of keywords for the model, or one tensor.
    loss:
        `loss(output, target)`, or `loss(model, batch)` where its first parameter is called `model`.
    unroll:
        Opens fused layers, at the price of their speed: nn.RNN, nn.LSTM, nn.GRU and their cells run step by step, so
        that the ledger has each gate of each time step (`lstm.t12.forget_gate`), and fused attention is written out,
        so that its softmax has a site, and its logits and entropy are reported.  It is the same to rounding: each
        layer is compared with the fused one, and stays fused where it differs.  Dropout inside them is drawn anew.

    Raises
    ------
    ModelError, BatchError, LossError
        One of the three cannot be used; the message says what to change.
    """
    return judge(measure(model, batch, loss, unroll))
