"""The forecast's document in every form and language, its data, and its figure."""

from __future__ import annotations

import json
import re

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.diagnosis import compare, measured
from undertow.foundation import InputError, language
from undertow.report.figures import forecast_figure
from undertow.report.forecast import forecast_data, forecast_document
from undertow.report.structured import as_json
from undertow.report.write import RENDERERS
from undertow.theory.blueprint import Blueprint
from undertow.theory.forecast import Forecast

X = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))


def network(depth: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(64, 64), nn.Sigmoid())])


@pytest.fixture(scope="module")
def sick() -> Forecast:
    return ut.forecast(network(20), X)


@pytest.mark.parametrize("lang", ["en", "ko"])
@pytest.mark.parametrize("kind", RENDERERS)
def test_every_form_has_the_verdict_the_sites_and_the_depths(kind, lang, sick):
    with language(lang):
        page = RENDERERS[kind](forecast_document(sick))
    plain = re.sub(r"<[^>]+>|\s+", " ", page)
    assert {"en": "will vanish", "ko": "사라집니다"}[lang] in plain
    assert {"en": "18 more blocks", "ko": "블록 18개"}[lang] in plain
    assert "float16" in plain
    assert "match_" in plain.replace("\\", "")
    assert kind != "html" or "<svg" in page


def test_a_comparison_shows_what_passes_and_what_does_not(sick):
    model = network(3)
    forecast, ledger = ut.forecast(model, X), measured(model, X)
    with torch.no_grad():
        model[2].weight.mul_(4)
    good, bad = (compare([forecast], [found]) for found in (ledger, measured(model, X)))
    texts = [RENDERERS["markdown"](forecast_document(forecast, c)) for c in (good, bad)]
    assert "6 of 6 sites lie within their interval." in texts[0]
    assert "**miss**" not in texts[0]
    assert re.search(r"[23] of 6 sites lie outside their interval, first 0 \(linear\)", texts[1])
    assert texts[1].count("**miss**") in (2, 3)


def test_the_data_hold_what_the_document_says(sick):
    model = network(3)
    forecast = ut.forecast(model, X)
    found = json.loads(as_json(forecast_data(forecast, compare([forecast], [measured(model, X)]))))
    assert [s["site"] for s in found["sites"]] == [s.site.name for s in forecast.sites]
    assert found["measured"]["holds"] is True
    assert found["measured"]["sites"][0]["ratio"] == pytest.approx(1, rel=0.5)
    data = forecast_data(sick)
    assert (data["healthy"], data["findings"][0]["kind"]) == (False, "vanishing")
    assert data["underflow_depth"]["float16"] == pytest.approx(10, abs=2)


def test_the_figure_shows_the_band_and_the_measured_points(sick):
    model = network(3)
    forecast = ut.forecast(model, X)
    with torch.no_grad():
        ledger = measured(model, X)
        model[2].weight.mul_(4)
    alone, both = forecast_figure(forecast), forecast_figure(compare([forecast], [ledger]))
    missed = forecast_figure(compare([forecast], [measured(model, X)]))
    assert "3 of 3 measured values lie in the interval" in both
    assert re.search("[12] of 3 measured values", missed)
    assert missed.figure is not None
    labels = missed.figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["forecast, with the interval of 95 % of initialisations", "measured", "measured: miss"]
    assert alone.figure is not None
    assert len(alone.figure.axes[0].lines) == 1
    assert "float16" in forecast_figure(sick)


def test_a_forecast_without_a_gradient_has_no_figure():
    zeros = ut.forecast(ut.blueprint.mlp(2, 8, weight_variance=0.0))
    assert isinstance(zeros.blueprint, Blueprint)
    nothing = Forecast(zeros.blueprint, zeros.flow, 1.0)
    assert forecast_figure(nothing)  # the last layer has one
    with pytest.raises(InputError, match="without a gradient"):
        forecast_figure(compare([nothing], [measured(network(1), X)]))
