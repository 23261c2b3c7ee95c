"""The gradients of the weights against autograd."""

import statistics

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut
from undertow.foundation import InputError


def norms(model: nn.Module, x: Tensor, cotangent: Tensor) -> dict[str, float]:
    weights = {name: p for name, p in model.named_parameters() if p.ndim == 2}
    found = torch.autograd.grad(model(x), list(weights.values()), cotangent)
    return {name.replace(".weight", "#0"): g.norm().item() for name, g in zip(weights, found, strict=True)}


def test_one_layer_is_exact_where_signal_or_gradient_is_the_same_in_all_samples():
    model = nn.Sequential(nn.Linear(40, 30))
    for x, cotangent in (
        (torch.randn(1, 40).expand(8, -1), torch.randn(8, 30)),
        (torch.randn(8, 40), torch.randn(1, 30).expand(8, -1)),
    ):
        found = ut.forecast(model, x, cotangent=cotangent).weight_gradients
        assert found == pytest.approx(norms(model, x, cotangent), rel=1e-5)


@pytest.mark.parametrize(("act", "within"), [(nn.Tanh, 0.1), (nn.ReLU, 0.2)])
def test_a_chain_with_cross_entropy(act, within):
    ratios: dict[str, list[float]] = {}
    for seed in range(9):
        torch.manual_seed(seed)
        layers = [m for _ in range(8) for m in (nn.Linear(256, 256), act())]
        model = nn.Sequential(*layers, nn.Linear(256, 10))
        x, target = torch.randn(32, 256), torch.randint(10, (32,))
        out = model(x).detach().requires_grad_()
        cotangent = torch.autograd.grad(F.cross_entropy(out, target), out)[0]
        found = ut.forecast(model, x, cotangent=cotangent).weight_gradients
        for name, norm in norms(model, x, cotangent).items():
            ratios.setdefault(name, []).append(found[name] / norm)
    for name, of_seeds in ratios.items():
        assert statistics.median(of_seeds) == pytest.approx(1, abs=within), name


def test_a_cotangent_of_another_shape_is_an_error():
    with pytest.raises(InputError, match=r"\(3, 5\) for an output of shape \(3, 4\)"):
        ut.forecast(nn.Linear(4, 4), torch.randn(3, 4), cotangent=torch.randn(3, 5))
