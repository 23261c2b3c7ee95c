"""The page of gains: computed, and what it says holds."""

import math

import pytest
import torch

from undertow.activations import activation
from undertow.foundation import language
from undertow.report.activations.gain_table import TIMM, gains_of, page, table


def test_timms_gammas_are_standardised_gains_to_a_thousandth():
    for name, gamma in TIMM.items():
        assert gains_of(activation(name)).standardised == pytest.approx(gamma, rel=1e-3)


def test_torch_is_asked_itself():
    rows = {row.name: row for row in table()}
    assert rows["tanh"].torch == torch.nn.init.calculate_gain("tanh")
    assert {name for name, row in rows.items() if row.torch is not None} >= {"relu", "leaky_relu", "selu", "sigmoid"}
    assert rows["sigmoid"].torch < rows["sigmoid"].backward / 4
    assert rows["swish"].torch is None


def test_the_page_in_both_languages():
    text = page()
    assert "| tanh | 1.5925 | 1.4674 | 1.5925 | 1.1778 | 0.46107 | 1.6667 (+4.65 %) | 1.5939 (+0.09 %) |" in text
    assert "| relu | ×0.408 | ×0.408 | ×0.408 |" in text
    assert "| sigmoid | ×0.141 |" in text
    assert f"grows ×{math.sqrt(1.1778):.3f} a layer" in text
    with language("ko"):
        assert "표준화 게인" in page()
