"""The loss as `watch` sees it in a loop that hands it to nobody."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from undertow.diagnosis import Run, watch


def trained(accumulate: int = 1, log: bool = False, path: str | None = None) -> tuple[Run, list[float]]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    with watch(model, optimizer, budget=None, path=path) as run:
        for _ in range(6):
            optimizer.zero_grad()
            total = 0.0
            for _ in range(accumulate):
                loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,))) / accumulate
                loss.backward()
                total += loss.item()
            if log:
                run.log(loss=2 * total)
            optimizer.step()
            losses.append(total)
    return run, losses


@pytest.mark.parametrize("accumulate", [1, 4])
def test_it_is_read_where_backward_is_called(accumulate: int) -> None:
    run, losses = trained(accumulate)
    assert [r.step for r in run.recording.losses] == list(range(6))
    assert run.diagnose().losses == pytest.approx(losses)


def test_what_is_logged_counts_alone() -> None:
    run, losses = trained(log=True)
    assert run.diagnose().losses == pytest.approx([2 * loss for loss in losses])


def test_what_was_noted_before_the_first_log_goes() -> None:
    model, x = nn.Linear(4, 1), torch.randn(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    seen: list[Tensor] = []
    with watch(model, optimizer, budget=None) as run:
        for step in range(6):
            optimizer.zero_grad()
            loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            if step >= 3:
                run.log(loss)
                seen.append(loss.detach())
    assert run.diagnose().losses == pytest.approx([float(s) for s in seen])
