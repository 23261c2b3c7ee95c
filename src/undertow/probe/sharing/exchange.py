"""Sums and maxima over the ranks, beside the training's own communication and never in its way.

The group is ours: gloo, made directly on the job's store.  Torch's registry of groups doesn't know it, so the number
and order of the user's groups and collectives stay what they are, also under NCCL, whose watchdog would end a job
for a collective that one rank of ours missed.  A reduction is started and its result read a step later, so nothing
waits in the step.  A rank that leaves closes its connections, which ends the others' waiting at once.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import timedelta
from threading import Thread
from typing import Any

import torch.distributed as dist
from torch import Tensor

from undertow.probe.sharing.sharding import Layout

PATIENCE = timedelta(seconds=10)
"""The longest that a rank waits for another one, once: after it, each goes on alone.  Ours."""

_watched: Counter[str] = Counter()
"""How often this process has watched a model of the same layout."""


class RanksApart(Exception):
    """The ranks can no longer tell each other anything; the message says why."""


class Exchange:
    """The group of the ranks that watch one model; it begins with the announcement of this one."""

    def __init__(self, layout: Layout, always: bool) -> None:
        """Only ranks of the same layout find each other, and only with the same word on measuring `always`."""
        self.layout = layout
        subject = "\n".join([str(always), str(layout.members), *layout.pieces])
        name = hashlib.sha1(subject.encode()).hexdigest()
        store = dist.distributed_c10d._get_default_store()
        self._store = dist.PrefixStore(f"undertow/{name}/{_watched[name]}", store)  # pyright: ignore
        _watched[name] += 1
        self._group: Any = None
        self._underway: list[Any] = []
        self._store.add("present", 1)

    def join(self) -> None:
        """Connects the ranks: all of them have announced themselves a step ago, or it is not tried.

        Between the announcement and this call lies a backward pass, which no rank finishes before all have begun it.
        So all ranks count the same, and either all connect or none does.

        Raises
        ------
        RanksApart
            Not every rank is watched, or gloo is missing or finds no way between the ranks.
        """
        present = self._store.add("present", 0)
        if present != self.layout.size:
            raise RanksApart(f"{present} of {self.layout.size} ranks are watched")
        if not dist.is_gloo_available():
            raise RanksApart("this build of torch has no gloo")
        try:
            self._group = dist.ProcessGroupGloo(self._store, self.layout.rank, self.layout.size, _lazily())
        except RuntimeError as error:
            raise RanksApart(f"the ranks could not be connected: {_first_line(error)}") from error

    def start(self, total: Tensor, top: Tensor | None = None) -> list[Any]:
        """Begins to replace `total` by its sum over the ranks and `top` by its maximum; they are not to be touched.

        Raises
        ------
        RanksApart
            A rank has left.
        """
        works = [self._begin(total, dist.ReduceOp.SUM)]
        if top is not None:
            works.append(self._begin(top, dist.ReduceOp.MAX))
        return works

    def _begin(self, tensor: Tensor, operation: Any) -> Any:
        options = dist.AllreduceOptions()
        options.reduceOp = operation
        try:
            work = self._group.allreduce([tensor], options)
        except RuntimeError as error:
            raise RanksApart(f"a rank has left: {_first_line(error)}") from error
        self._underway.append(work)
        return work

    def finish(self, works: list[Any]) -> None:
        """Waits for the results; all ranks started them a step ago.

        Raises
        ------
        RanksApart
            A rank has left, or is not heard of.
        """
        for work in works:
            try:
                work.wait(PATIENCE)
            except RuntimeError as error:
                raise RanksApart(f"a rank has left or is not heard of: {_first_line(error)}") from error
            self._underway.remove(work)

    def leave(self) -> None:
        """Closes the connections, without waiting: what is underway keeps its memory until gloo gives it up."""
        group, works, self._group, self._underway = self._group, self._underway, None, []
        if works:
            Thread(target=_outlive, args=(group, works), daemon=True).start()


def _lazily() -> Any:
    """Connects a rank with those it sends to, its two neighbours in the ring: all with all are p² connections."""
    options = dist.ProcessGroupGloo._Options()  # pyright: ignore[reportAttributeAccessIssue]
    options._devices = [dist.ProcessGroupGloo.create_default_device(lazy_init=True)]
    options._timeout = PATIENCE
    return options


def _outlive(_group: Any, works: list[Any]) -> None:
    for work in works:
        try:
            work.wait(PATIENCE)
        except RuntimeError:  # nobody waits for the result any more
            continue


def _first_line(error: Exception) -> str:
    """What gloo says, without its place in gloo's source and without its advice."""
    return str(error).splitlines()[0].rpartition("] ")[2].partition(". ")[0]
