"""A forecast beside a measurement: sites that agree, a model that is not the one forecast, what was not measured."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import undertow as ut
from undertow.diagnosis import compare, measured
from undertow.foundation import InputError, LossError
from undertow.record import Ledger


def chain(seed: int, depth: int = 8, width: int = 128) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(width, width), nn.Tanh())], nn.Linear(width, 5))


X = torch.randn(64, 128, generator=torch.Generator().manual_seed(1))


def test_the_medians_of_seeds_lie_within_the_interval():
    models = [chain(seed) for seed in range(3)]
    comparison = compare([ut.forecast(m, X) for m in models], [measured(m, X, i) for i, m in enumerate(models)])
    assert comparison.holds
    assert comparison.seeds == 3
    assert len(comparison.judged) == len(comparison.sites) == 17
    assert comparison.missing == ()
    last = comparison.sites[-1]
    assert last.measured == pytest.approx(last.expected)
    assert all(s.measured_forward == pytest.approx(s.forecast.forward_rms, rel=0.15) for s in comparison.sites[:-1])


def test_weights_that_changed_since_are_a_miss_where_they_are():
    model = chain(0)
    forecast = ut.forecast(model, X)
    with torch.no_grad():
        model[8].weight.mul_(2)
    comparison = compare([forecast], [measured(model, X)])
    assert not comparison.holds
    outside = {s.forecast.site.name for s in comparison.outside}
    assert outside == {f"{i}#0" for i in range(8)}  # what lies before the layer that changed
    assert comparison.sites[0].ratio == pytest.approx(2, rel=0.4)


def test_a_site_that_was_not_measured_is_not_judged():
    model = chain(0)
    forecast, ledger = ut.forecast(model, X), measured(model, X)
    comparison = compare([forecast], [Ledger(tuple(e for e in ledger if e.site.name != "3#0"))])
    assert [s.forecast.site.name for s in comparison.sites if math.isnan(s.measured)] == ["3#0"]
    assert len(comparison.judged) == 16


def test_a_measured_site_without_a_forecast_is_named():
    one, longer = chain(0, depth=2), chain(0, depth=3)
    assert compare([ut.forecast(one, X)], [measured(longer, X)]).missing == ("5#0", "6#0")


def test_measuring_leaves_the_model_as_it_was_and_takes_any_batch():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.layer = nn.BatchNorm1d(128), nn.Linear(128, 3)

        def forward(self, x: Tensor, scale: Tensor) -> dict[str, Tensor]:
            return {"logits": self.layer(self.norm(x)) * scale}

    torch.manual_seed(0)
    model = Two()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    ledgers = [measured(model, given) for given in ((X, torch.ones(1)), {"x": X, "scale": torch.ones(1)})]
    assert ledgers[0].end_to_end == ledgers[1].end_to_end > 0
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_bad_input_is_refused():
    model = chain(0)
    with pytest.raises(InputError, match="1 forecasts and 0 ledgers"):
        compare([ut.forecast(model, X)], [])

    class Detached(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).detach()

    with pytest.raises(LossError, match="an output without a gradient"):
        measured(Detached(128, 3), X)
