"""Layers that start with equal weights: they are not independent, and a forecast says so."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.diagnosis import measured
from undertow.theory.copies import representatives

WIDTH = 128


def encoder(independent: bool) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 256, dropout=0.0, batch_first=True)
    model = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    for each in model.layers if independent else ():
        each.load_state_dict(nn.TransformerEncoderLayer(WIDTH, 4, 256, batch_first=True).state_dict())
    return model, torch.randn(4, 8, WIDTH)


def test_the_copies_of_an_encoder_are_flagged_and_are_what_the_forecast_is_off_by():
    off = {}
    for independent in (True, False):
        model, x = encoder(independent)
        forecast = ut.forecast(model, x)
        off[independent] = abs(math.log(measured(model, x).end_to_end / forecast.end_to_end))
        assert ("equal_weights" in forecast.flags) is not independent
    assert off[True] < math.log(1.05)
    assert off[False] > math.log(1.25)


def test_every_copy_on_the_path_is_named():
    model, x = encoder(independent=False)
    flagged = {s.module for s in ut.forecast(model, x).flags["equal_weights"]}
    assert flagged == {f"layers.{i}.{name}" for i in range(6) for name in ("self_attn", "linear1", "linear2")}


class Tied(nn.Module):
    """A table of tokens that is also the output's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.hidden = nn.Embedding(50, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 50, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.hidden(self.table(tokens))))


def test_one_layer_called_again_is_flagged_and_a_table_that_is_the_head_too_is_not():
    layer = nn.Linear(32, 32)
    again = nn.Sequential(layer, nn.Tanh(), layer)
    assert {s.name for s in ut.forecast(again, torch.randn(4, 32)).flags["equal_weights"]} == {"0#0", "0#1"}
    assert "equal_weights" not in ut.forecast(Tied(), torch.randint(50, (4, 6))).flags


def test_the_forecast_with_matched_weights_has_no_copies():
    copied = nn.Sequential(nn.Linear(32, 32), nn.Tanh())
    told = ut.forecast(nn.Sequential(copied, copy.deepcopy(copied)), torch.randn(4, 32))
    assert "equal_weights" in told.flags
    assert told.matched is not None
    assert "equal_weights" not in told.matched.flags


def test_weights_are_compared_whole_and_those_of_one_value_are_left_out():
    weight = torch.randn(100, 100)
    changed = weight.clone()
    changed[57, 31] += 1
    others = {"copy": weight.clone(), "turned": weight.T.contiguous(), "changed": changed}
    constants = {
        "zeros": torch.zeros(3, 3),
        "zeros2": torch.zeros(3, 3),
        "bias": torch.randn(9),
        "empty": torch.zeros(0, 3),
    }
    found = representatives({"first": weight, **others, **constants}.items())
    assert found == {"first": "first", "copy": "first", "turned": "turned", "changed": "changed"}


@pytest.mark.parametrize("size", [2, 63, 64, 65, 1000])
def test_weights_of_any_size_are_compared(size):
    weight = torch.randn(size, 2)
    assert representatives({"a": weight, "b": weight.clone()}.items()) == {"a": "a", "b": "a"}
