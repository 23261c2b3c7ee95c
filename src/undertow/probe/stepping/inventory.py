"""The parameters of a model as they are now."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from undertow.probe.sharing.sharding import is_dtensor
from undertow.probe.stepping.clock import parameters
from undertow.probe.stepping.updates import Samples
from undertow.record.names import named_parameters

SMALL = 1 << 12
"""Values of a parameter that are looked at in no time."""


class Inventory:
    """Those of the model, and those that its optimizers hold besides."""

    def __init__(self, model: nn.Module, optimizers: Iterable[Optimizer | None] = ()) -> None:
        self.named = [(name, p) for name, p in named_parameters(model) if not is_lazy(p) and p.numel()]
        self.trained: list[tuple[str, Tensor]] = [(name, p) for name, p in self.named if p.requires_grad]
        held = (p for o in optimizers if o is not None for p in parameters(o))
        self.all: list[Tensor] = list({id(p): p for p in (*(p for _, p in self.trained), *held)}.values())
        self.on_host = all(p.is_cpu for p in self.all)
        self.uncounted = any(map(is_dtensor, self.all))
        """Whether torch counts no change of a gradient, as it doesn't where a shard is written to."""
        on_host = [p for p in self.all if p.is_cpu]
        smallest = min(on_host, key=Tensor.numel, default=None)
        self.sentinel = next((p for p in on_host if p.numel() <= SMALL), smallest)
        """The first small one: its gradient shows nearly every fault behind it."""
        self._unheld: tuple[list[tuple[int, ...]], list[Tensor]] | None = None

    @cached_property
    def samples(self) -> Samples:
        """Of the trained parameters, for the steps that are measured whole."""
        return Samples(self.trained)

    @property
    def sound(self) -> bool:
        """A look at the first small gradient, which nearly every fault behind it reaches on its way back."""
        gradient = None if self.sentinel is None else self.sentinel.grad
        return gradient is None or gradient.is_sparse or bool(gradient.isfinite().all())

    def unheld(self, optimizers: Iterable[Optimizer | None]) -> list[Tensor]:
        """Trained parameters that none of these holds; looked for anew where one holds more or fewer than before."""
        of = [o for o in optimizers if o is not None]
        sizes = [(id(o), *(len(group["params"]) for group in o.param_groups)) for o in of]
        if self._unheld is None or self._unheld[0] != sizes:
            held = {id(p) for o in of for p in parameters(o)}
            self._unheld = sizes, [p for _, p in self.trained if id(p) not in held]
        return self._unheld[1]
