"""The search for a cure: the untouched control and each cure on the same seeds, data and budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

from undertow.cures.cure import Cure, chosen
from undertow.cures.search.asked import asked_for
from undertow.cures.search.conduct import Search
from undertow.cures.search.race import checked_budget
from undertow.cures.trials.backends import TimeUpError
from undertow.cures.trials.backends.choice import checked_backend
from undertow.cures.trials.progress import progress_bar
from undertow.cures.trials.seeding import random_state_kept
from undertow.cures.trials.task import Make
from undertow.cures.trials.verdict import Verdicts
from undertow.foundation import InputError


def cure(
    make: Make,
    seeds: Sequence[int] = (0, 1, 2),
    cures: Iterable[str | Cure] | None = None,
    steps: int | None = None,
    progress: bool = True,
    diagnose: bool = True,
    budget: float | str = "10x",
    path: str | PathLike[str] | None = None,
    backend: str = "serial",
    workers: int | None = None,
) -> Verdicts:
    """Search for a cure, and prove it against the untouched control, paired by seed.

    The control runs on every seed and is diagnosed.  The changes that are meant for what it shows, alone and two
    together, race on a seed of their own, where most stop early; the best of them runs on every seed.  Where nothing
    is found nothing is tried.  With `cures` each of these runs on every seed instead.

    A change that is better on every seed and leaves no fault, though the interval still holds 0, is run with its
    control on two seeds more, for which a budget in trainings may be overdrawn by four.  (A second look at the same
    interval: at most twice its 5 % of chance.)

    A verdict is `harmed` if the 95 % interval of the paired differences lies below 0 or a trial fails where the
    control did not, `cured` if the interval lies above 0 and the faults of the control are gone on every seed,
    `helped` if the interval lies above 0, else `no effect`.  Where the control fails on every seed without a metric,
    a sound run on every seed counts as an interval above 0.

    Parameters
    ----------
    make:
        `make(seed)` returns the Training of one seed; all random generators are seeded before it is called.
    seeds:
        At least two for any proof; with one seed every difference may be chance.
    cures:
        Names, labels or Cure objects, to try each of them whole instead of a search.
    steps:
        Optimizer steps of each trial; one for each batch by default.
    progress:
        Show a bar on a terminal (stderr).
    diagnose:
        Watch every trial for faults; without it nothing can be called cured.
    budget:
        What the search may cost, control and proof included: seconds, or "90s", "5m", "2h", or "10x" for ten times
        the plain training.  Control and proof alone take twice the number of seeds.  A time is kept: what does not
        fit is broken off, and `unproven` names it.
    path:
        A file for everything that has been tried, written at once.  A search that was killed goes on from it, also
        with more seeds, other cures or a larger budget; it ends as one that was not killed.
    backend:
        "serial"; "processes" on this machine; or "ray": the cluster that this program is connected to, else that of
        RAY_ADDRESS, else this machine.  The results are the same, bit for bit, if this program computes with one
        thread (`torch.set_num_threads(1)`): other numbers of threads add up in another order.
    workers:
        How many trials run at a time: as many as there are cores (or GPUs) for None.  The cores are divided among
        them.

    A failing trial is its own result, whether it lacks memory or kills its process (of a parallel backend); one that
    hangs is ended by a budget of time in a parallel backend only.  Ctrl-C gives back what is proven so far and how far
    the race came, with `interrupted` set.  The random generators are given back as they were.

    Raises
    ------
    InputError
        `make` returns no Training, or seeds or steps are empty or of the wrong kind.
    UnknownNameError
        A cure that the catalogue does not know.
    UndertowError
        The untouched training itself cannot run: no batches, a batch that the model refuses, a loss without gradient.
    """
    asked = asked_for(cures) if cures is not None else None if diagnose else chosen()
    seeds, allowed = _checked(make, seeds, steps), checked_budget(budget)
    checked_backend(backend, workers)
    with random_state_kept(), progress_bar(progress) as bar:
        search = Search(make, seeds, steps, diagnose, allowed)
        with search.opened(path, backend, workers, bar):
            try:
                search.control(asked)
                search.hunt() if asked is None else search.listed(asked)
            except KeyboardInterrupt:
                search.interrupted = True
            except TimeUpError:
                search.out_of_time = True
        return search.result()


def _checked(make: Any, seeds: Any, steps: Any) -> tuple[int, ...]:
    if not callable(make):
        raise InputError(
            f"make of type {type(make).__name__}",
            "a function: make(seed) -> ut.Training",
            "def make(seed): ...; return ut.Training(model, optimizer, loss, batches)",
        )
    seeds = tuple(seeds) if isinstance(seeds, Iterable) else (seeds,)
    if not seeds or len(set(seeds)) < len(seeds) or not all(isinstance(seed, int) for seed in seeds):
        raise InputError(f"seeds={seeds!r}", "different whole numbers, two or more for a proof", "seeds=(0, 1, 2)")
    if steps is not None and not (isinstance(steps, int) and steps > 0):
        raise InputError(f"steps={steps!r}", "a positive number of optimizer steps, or None", "steps=300")
    return seeds
