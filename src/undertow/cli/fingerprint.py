"""One run of `undertow check`: the program runs, and the weights after each step of an optimizer leave their hashes.

`python -m undertow.cli.fingerprint '{"file": ..., "steps": ..., "watched": ..., "budget": ..., "program": [...]}'`
"""

from __future__ import annotations

import gc
import hashlib
import json
import random
import sys
from typing import Any

from undertow.foundation.imports import when_imported

SEED = 0
"""Of random, numpy and torch, which else draw one from the system; a program that sets its own overrides it."""


class Enough(BaseException):
    """Ends the program after the steps that were asked for; no `except Exception` of the program's stops it."""


class Recorder:
    """Hashes the weights in a hook of torch's on all optimizers."""

    def __init__(self, steps: int | None) -> None:
        self.steps: list[tuple[int, dict[str, str], str]] = []
        """Per step: which optimizer, the hashes of its parameters, and that of torch's random state."""
        self._most = steps
        self._names: dict[int, list[tuple[str, Any]]] = {}
        self._optimizers: list[Any] = []

    def begin(self) -> None:
        import torch
        from torch.optim.optimizer import register_optimizer_step_post_hook

        torch.manual_seed(SEED)
        register_optimizer_step_post_hook(self._stepped)

    def _stepped(self, optimizer: Any, _args: Any, _kwargs: Any) -> None:
        import torch

        if not any(o is optimizer for o in self._optimizers):
            self._optimizers.append(optimizer)
            self._names[id(optimizer)] = _named(optimizer)
        number = next(i for i, o in enumerate(self._optimizers) if o is optimizer)
        hashes = {name: digest(p) for name, p in self._names[id(optimizer)]}
        self.steps.append((number, hashes, digest(torch.get_rng_state())))
        if self._most is not None and len(self.steps) >= self._most:
            raise Enough


def buffers() -> list[tuple[str, str]]:
    """The hashes of the running means and the like of every module that is there."""
    if "torch" not in sys.modules:
        return []
    from torch import nn

    gc.collect()
    modules = [m for m in gc.get_objects() if issubclass(type(m), nn.Module) and "_buffers" in m.__dict__]
    own = [(type(m).__name__, n, b) for m in modules for n, b in m._buffers.items() if b is not None]
    return sorted((f"{kind}.{name}", digest(b)) for kind, name, b in own)


def digest(tensor: Any) -> str:
    """64 bits of BLAKE2b over a tensor's bytes."""
    import torch

    values = tensor.detach()
    values = values.to_local() if hasattr(values, "to_local") else values
    raw = values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def _named(optimizer: Any) -> list[tuple[str, Any]]:
    """The optimizer's parameters by the names that their modules give them."""
    from undertow.probe.discovery import holders

    wanted = [p for group in optimizer.param_groups for p in group["params"]]
    names = {id(p): name for module in holders(wanted) for name, p in module.named_parameters()}
    found = [(names.get(id(p), "parameter"), p) for p in wanted]
    seen: dict[str, int] = {}
    for i, (name, p) in enumerate(found):
        seen[name] = seen.get(name, 0) + 1
        found[i] = (name if seen[name] == 1 else f"{name} ({seen[name]})", p)
    return found


def _seed_numpy() -> None:
    import numpy

    numpy.random.seed(SEED)


def main() -> int:
    """Runs the program; its exit status, 0 where it was ended after enough steps."""
    from undertow.cli.program import Program
    from undertow.cli.watching import Watching

    asked = json.loads(sys.argv[1])
    target, *arguments = asked["program"]
    prepared = Program(target, tuple(arguments), asked["module"]).prepare()
    recorder = Recorder(asked["steps"])
    random.seed(SEED)
    when_imported("numpy", _seed_numpy)
    watching = Watching(target, asked["budget"]) if asked["watched"] else None
    when_imported("torch", recorder.begin)
    status = prepared.run(ending=(Enough,))
    found = {"steps": recorder.steps, "buffers": buffers(), "measured": 0}
    if watching is not None:
        watching.end()
        found["measured"] = watching.measured
    with open(asked["file"], "w", encoding="utf-8") as file:
        json.dump(found, file)
    return status


if __name__ == "__main__":
    sys.exit(main())
