"""A model whose parts are called and never itself: an autoencoder trained as `model.decoder(model.encoder(x))`."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from test_unchanged import hooks
from torch import Tensor, nn

from undertow.diagnosis import examine, watch

STEPS = 12


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.Sigmoid(), nn.Linear(32, 16))

    def loss(self, x: Tensor) -> Tensor:
        """With a sample of the code that no module draws."""
        middle, width = self.encoder(x).chunk(2, -1)
        code = middle + torch.randn_like(middle) * width.exp()
        return F.mse_loss(self.decoder(code), x) + middle.square().mean() + (width.exp() - width).mean()


def made() -> tuple[Autoencoder, torch.optim.Optimizer, Tensor]:
    torch.manual_seed(0)
    model = Autoencoder()
    return model, torch.optim.SGD(model.parameters(), 0.05), torch.randn(32, 16)


def train(model: Autoencoder, optimizer: torch.optim.Optimizer, x: Tensor) -> Iterator[float]:
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model.loss(x)
        loss.backward()
        optimizer.step()
        yield loss.item()


def by_hand(model: Autoencoder, x: Tensor) -> dict[str, float]:
    """The rms of autograd's gradient at the output of each layer."""
    seen: dict[str, Tensor] = {}
    model = copy.deepcopy(model)
    for name, layer in model.named_modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _m, _a, output, name=name: seen.update({name: output}))
    gradients = torch.autograd.grad(model.loss(x), list(seen.values()))
    return {name: g.square().mean().sqrt().item() for name, g in zip(seen, gradients, strict=True)}


def test_the_ledger_spans_the_parts_with_autograds_gradients() -> None:
    model, _, x = made()
    torch.manual_seed(7)
    truth = by_hand(model, x)
    torch.manual_seed(7)
    found = examine(model, x, lambda model, batch: model.loss(batch))
    measured = {e.site.module: e.backward.rms for e in found.ledger.entries if e.backward is not None}
    assert measured == pytest.approx(truth, rel=1e-5)
    assert any("never called" in note.reason for note in found.not_observed)


@pytest.mark.parametrize("budget", [None, 0.02])
def test_a_watched_run_is_seen_and_unchanged(budget: float | None) -> None:
    plain, watched_one = made(), made()
    torch.manual_seed(1)
    expected = list(train(*plain))
    torch.manual_seed(1)
    with watch(watched_one[0], watched_one[1], budget=budget) as run:
        losses = list(train(*watched_one))
    assert losses == expected
    assert all(torch.equal(a, b) for a, b in zip(plain[0].parameters(), watched_one[0].parameters(), strict=True))
    assert not hooks(watched_one[0])
    assert len(run.recording.snapshots) >= 5
    assert {e.site.module for e in run.recording.snapshots[-1].ledger.entries} == set(by_hand(plain[0], plain[2]))


def test_a_call_of_the_model_itself_ends_the_looking_for_parts() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer, x = torch.optim.SGD(model.parameters(), 0.05), torch.randn(32, 16)
    with watch(model, optimizer, budget=None) as run:
        model[0](x)  # looked at once, before the training
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    assert [len(s.ledger.entries) for s in run.recording.snapshots] == [3, 3, 3]
    assert not run.diagnose().not_observed


def test_passes_that_no_backward_pass_follows_are_forgotten() -> None:
    model, optimizer, x = made()
    with watch(model, optimizer, budget=None) as run:
        for _ in range(3):
            model.encoder(x)  # with gradients on, for nothing
            list(zip(range(1), train(model, optimizer, x), strict=False))
    for snapshot in run.recording.snapshots:
        reached = {e.site.name for e in snapshot.ledger.entries if e.backward is not None}
        assert {"encoder.0#1", "encoder.2#1", "decoder.2#0"} <= reached
        assert "encoder.0#0" not in reached
