"""Fused layers in the open: a replica of a model whose recurrent layers run step by step and whose attention is
written out, for one batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from undertow.probe.nonfinite.replica import replica
from undertow.probe.objective import Objective
from undertow.probe.unrolled.attention import Explicit
from undertow.probe.unrolled.recurrent import Stepwise, fuse, tolerance, unroll
from undertow.record import NotObserved


class Unrolled:
    """`model` computes what the original does, to rounding; `notes` says where it does not and stayed fused."""

    def __init__(self, original: nn.Module) -> None:
        self.model = replica(original, unroll)
        self.explicit = Explicit(self.model)
        self.notes: dict[str, NotObserved] = {}

    def prepare(self, objective: Objective, batch: Any) -> None:
        """Runs the forward pass once: the sites of every time step come into being and each layer is compared."""
        devices = {p.device for p in self.model.parameters() if p.device.type == "cuda"}
        with torch.random.fork_rng(devices=list(devices)), torch.enable_grad():
            objective(self.model, batch)
        for name, module in self.model.named_modules():
            if isinstance(module, Stepwise) and not module.difference <= tolerance(next(module.parameters()).dtype):
                self.notes[name] = NotObserved(name, f"fused: step by step it differs by {module.difference:.1g}")
                fuse(module)
