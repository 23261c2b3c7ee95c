"""The optimizer's view: by how much a step changed each parameter, its own scaling included."""

from __future__ import annotations

from torch import Tensor, nn

from undertow.native import statistics
from undertow.record import Reading

MOST = 1 << 16
"""A larger parameter is sampled, at even strides: its update's rms to within 1 %, for 256 KiB of memory."""


class Updates:
    """Keeps (samples of) the weights before a step and compares them afterwards."""

    def __init__(self, model: nn.Module) -> None:
        self.before = {name: _sample(p).clone() for name, p in model.named_parameters() if p.requires_grad}

    def readings(self, model: nn.Module) -> dict[str, Reading]:
        """Per parameter, the reading of w(after) - w(before)."""
        return {
            name: Reading(*statistics(_sample(p) - self.before[name]))
            for name, p in model.named_parameters()
            if name in self.before and p.numel()
        }


def _sample(parameter: Tensor) -> Tensor:
    values = parameter.detach().reshape(-1)
    return values if len(values) <= MOST else values[:: -(-len(values) // MOST)]
