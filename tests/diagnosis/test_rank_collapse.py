"""Tokens that become alike with depth, and what looks like it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis, watch


class Mixing(nn.Module):
    """Six attentions to the tokens themselves, or from the second on to their mean, repeated."""

    def __init__(self, skips: bool, memory: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head, self.skips, self.memory = nn.Linear(4, 16), nn.Linear(16, 2), skips, memory
        self.blocks = nn.ModuleList(nn.MultiheadAttention(16, 2, batch_first=True) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        for place, block in enumerate(self.blocks):
            seen = h.mean(1, keepdim=True).expand(-1, self.memory, -1) if place and self.memory else h
            mixed = block(h, seen, seen, need_weights=False)[0]
            h = h + mixed if self.skips else mixed
        return self.head(h).transpose(1, 2)


def trained(model: nn.Module, scale: float = 1.0, alike: bool = False, bfloat16: bool = False) -> Diagnosis:
    optimizer, generator = torch.optim.Adam(model.parameters(), 1e-3), torch.Generator().manual_seed(1)
    with watch(model, optimizer, budget=None) as run:
        for _ in range(8):
            x = torch.randn(16, 6, 4, generator=generator)
            x = x[:, :1].expand(-1, 6, -1) if alike else x
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = F.cross_entropy(model(x), (x[..., 0] > 0).long())
            (scale * loss).backward()
            optimizer.step()
    return run.diagnose()


def kinds(diagnosis: Diagnosis) -> list[str]:
    return [f.rule for f in diagnosis.findings if f.severity != "note"]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_without_skip_connections_it_is_found_at_every_scale_of_the_loss(scale: float) -> None:
    (finding, *_) = (f for f in trained(Mixing(skips=False), scale).findings if f.rule == "rank_collapse")
    assert (finding.kind, finding.rule, finding.cause) == ("vanishing", "rank_collapse", "depth")
    assert finding.where.startswith("blocks.")


def test_in_half_precision_too() -> None:
    assert "rank_collapse" in kinds(trained(Mixing(skips=False), bfloat16=True))


def test_skip_connections_keep_the_tokens_apart() -> None:
    assert kinds(trained(Mixing(skips=True))) == []


@pytest.mark.parametrize("length", [1, 9])
def test_a_memory_that_is_repeated_on_purpose_is_no_collapse(length: int) -> None:
    assert kinds(trained(Mixing(skips=True, memory=length))) == []


@pytest.mark.parametrize("skips", [True, False])
def test_tokens_that_were_alike_before_are_no_collapse(skips: bool) -> None:
    assert "rank_collapse" not in kinds(trained(Mixing(skips=skips), alike=True))
