"""Workers on a Ray cluster: the one that this program is connected to, else that of RAY_ADDRESS, else this machine."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from undertow.cures.trials.backends.parcel import Guest, Manners
from undertow.cures.trials.backends.pool import Pool, Seat
from undertow.cures.trials.task import Setting
from undertow.cures.trials.trial import Trial
from undertow.foundation import InputError


class Rays(Pool):
    def __init__(self, setting: Setting, workers: int | None, threads: int, on_gpu: bool) -> None:
        ray, self._started = connected()
        self._ray = ray
        self.died = (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError)
        unit = {"num_cpus": threads, "num_gpus": 1} if on_gpu else {"num_cpus": threads}
        room = room_for(ray, threads, on_gpu)
        actor = ray.remote(**unit)(Guest)
        manners = Manners.here(threads)

        def seat(number: int, setting: bytes) -> Seat:
            return _Actor(ray, actor.remote(setting, manners, {}))

        super().__init__(setting, min(workers or room, room), seat)

    def close(self) -> None:
        super().close()
        if self._started:
            self._ray.shutdown()


class _Actor(Seat):
    def __init__(self, ray: Any, actor: Any) -> None:
        super().__init__()
        self._ray, self._actor = ray, actor

    def submit(self, call: bytes) -> Future[Trial]:
        return self._actor.do.remote(call).future()

    def kill(self) -> None:
        self._ray.kill(self._actor)


def connected() -> tuple[Any, bool]:
    """Ray, connected to a cluster, and whether it was not before."""
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError('backend="ray" without ray', "ray beside undertow", "pip install 'undertow[ray]'") from error
    start = not ray.is_initialized()
    if start:
        ray.init(log_to_driver=False, include_dashboard=False)
    return ray, start


def room_for(ray: Any, threads: int, on_gpu: bool) -> int:
    """How many workers the cluster has room for, at least one."""
    given = ray.cluster_resources()
    return max(1, int(given.get("GPU", 0) if on_gpu else given.get("CPU", 1) // threads))
