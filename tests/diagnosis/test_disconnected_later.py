"""A layer that loses its gradient in mid-run, by a fault or on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import Diagnosis, watch

CHANGE, STEPS = 20, 45


class Net(nn.Module):
    """Features with a head, and a second head beside it; `how` says what becomes of the features."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.side = nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(16, 4)
        self.how = ""

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(self.how != "no_grad"):
            h = self.body(x).relu()
        if self.how == "detach":
            h = h.detach()
        return self.head(h) if self.how == "drop" else self.head(h) + self.side(h.detach() if self.how == "side" else h)


def trained(how: Callable[[int], str], body_stops: bool = False) -> Diagnosis:
    model, generator = Net(), torch.Generator().manual_seed(1)
    body = torch.optim.SGD(model.body.parameters(), 0.05)
    heads = torch.optim.SGD([*model.head.parameters(), *model.side.parameters()], 0.05)
    with watch(model, budget=None) as run:
        for step in range(STEPS):
            model.how = how(step)
            x = torch.randn(32, 8, generator=generator)
            body.zero_grad()
            heads.zero_grad()
            F.cross_entropy(model(x), x[:, :4].argmax(1)).backward()
            if not (body_stops and step >= CHANGE):
                body.step()
            heads.step()
    return run.diagnose()


def test_a_layer_that_is_cut_off_is_named_with_the_line() -> None:
    (finding,) = trained(lambda step: "detach" if step >= CHANGE else "").findings
    assert (finding.kind, finding.rule, finding.severity) == ("disconnected", "disconnected_later", "warning")
    assert finding.where.startswith("body")
    assert CHANGE <= finding.step < CHANGE + 20
    assert "detach" in finding.because
    assert "test_disconnected_later.py:" in finding.because


HEALTHY: dict[str, Callable[[int], str]] = {
    "gradients_are_off": lambda step: "no_grad" if step >= CHANGE else "",
    "every_third_step": lambda step: "detach" if step % 3 == 2 else "",
    "in_turns": lambda step: "detach" if step // 10 % 2 else "",
    "for_a_while": lambda step: "detach" if CHANGE <= step < CHANGE + 15 else "",
    "reached_another_way": lambda step: "side" if step >= CHANGE else "",
    "a_head_is_dropped": lambda step: "drop" if step >= CHANGE else "",
    "another_comes_in": lambda step: "detach" if step >= CHANGE else "drop",
}


@pytest.mark.parametrize("name", HEALTHY)
def test_what_is_on_purpose_is_passed_over(name: str) -> None:
    assert [f for f in trained(HEALTHY[name]).findings if f.severity != "note"] == []


def test_an_optimizer_that_stops_waits_for_nothing() -> None:
    assert trained(lambda step: "detach" if step >= CHANGE else "", body_stops=True).findings == ()
