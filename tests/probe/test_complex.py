"""Models that compute with complex numbers on their way: a filter in the frequency domain."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from undertow.diagnosis import watch

STEPS = 8


class Filter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(8, 16), nn.Linear(16, 1)
        self.weights = nn.Parameter(torch.randn(9, dtype=torch.complex64) * 0.1 + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(torch.fft.irfft(torch.fft.rfft(self.inner(x)) * self.weights, 16)))


def trained(budget: float | str | None) -> tuple[list[Tensor], object]:
    torch.manual_seed(0)
    model, x = Filter(), torch.randn(32, 8)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)

    def loop() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    if budget == "unwatched":
        loop()
        return list(model.parameters()), None
    with watch(model, optimizer, budget=budget) as run:  # pyright: ignore[reportArgumentType]
        loop()
    return list(model.parameters()), run


@pytest.mark.parametrize("budget", [None, 0.02])
def test_they_are_measured_and_unchanged(budget: float | None) -> None:
    plain, _ = trained("unwatched")
    watched, run = trained(budget)
    assert all(torch.equal(a, b) for a, b in zip(plain, watched, strict=True))
    recording = run.recording  # type: ignore[attr-defined]
    assert len(recording.snapshots) >= 5
    assert not any("stopped observing" in note.reason for note in recording.not_observed.values())
    ledger = recording.snapshots[-1].ledger
    assert {"inner#0", "out#0"} <= {e.site.name for e in ledger}
    assert all(e.backward is not None and e.backward.rms > 0 for e in ledger)
