"""Functions that are not defined for every number: an error by themselves, followed where they are fed well."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import undertow as ut
from undertow.diagnosis import measured
from undertow.foundation import InputError
from undertow.theory import criticality, moments


@pytest.mark.parametrize("function", [torch.log, torch.sqrt, torch.asin])
@pytest.mark.parametrize("ask", [moments, lambda f: criticality(f, 1.0)])
def test_by_themselves_they_are_one_clear_error(function, ask):
    with pytest.raises(InputError, match="which is NaN at -8"):
        ask(function)


class Between(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.function, self.last = nn.Linear(64, 64), function, nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


FED = {
    "log_sum_exp": lambda h: h - torch.log(h.exp().sum(-1, keepdim=True)),
    "root_mean_square": lambda h: h / torch.sqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6),
    "log_softmax": lambda h: torch.log(torch.softmax(h, -1)),
}


@pytest.mark.parametrize("name", FED)
def test_fed_with_positive_numbers_they_are_no_fault(name):
    torch.manual_seed(0)
    model, x = Between(FED[name]), torch.randn(64, 64)
    forecast = ut.forecast(model, x)
    assert not forecast.findings
    found = {e.site.name: e for e in measured(model, x)}
    last = forecast["last"]
    assert last.forward_rms == pytest.approx(found[last.site.name].forward_rms, rel=0.35)


@pytest.mark.parametrize("name", ["log_sum_exp", "root_mean_square"])
def test_and_their_gradient_is_followed_to_first_order(name):
    torch.manual_seed(0)
    forecast = ut.forecast(Between(FED[name]), torch.randn(64, 64))
    assert all(0 < s.low <= s.backward_rms <= s.high < math.inf for s in forecast.sites)
