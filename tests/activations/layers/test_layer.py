"""Layers: Parameters named after fields, per channel, pickled, copied, trained."""

import copy
import dataclasses
import io
import pickle

import pytest
import torch
from torch import nn

from undertow.activations import ELU, FReLU, FunnelReLU, PReLU, ReLU, Softmax, Swish, activation, names, recognise
from undertow.foundation import InputError


@pytest.mark.parametrize("name", names())
def test_layers_pickle_copy_and_restore(name):
    layer = activation(name).layer(channels=3).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    layer.train(False)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    fresh = activation(name).layer(channels=3).double().eval()
    fresh.load_state_dict(torch.load(buffer))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert torch.equal(other(x), layer(x))
    assert list(layer.parameters()) == [] or all(p.requires_grad for p in layer.parameters())


def test_prelu_trains_its_slope_by_default_as_torch_does():
    ours, theirs = PReLU().layer(channels=5), nn.PReLU(5)
    assert {n: tuple(p.shape) for n, p in ours.named_parameters()} == {"slope": (5,)}
    with torch.no_grad():
        slopes = torch.rand(5)
        ours.slope.copy_(slopes)
        theirs.weight.copy_(slopes)
    x = torch.randn(3, 5, 2, 2, requires_grad=True)
    z = x.detach().clone().requires_grad_()
    ours(x).square().sum().backward()
    theirs(z).square().sum().backward()
    assert torch.allclose(x.grad, z.grad)
    assert torch.allclose(ours.slope.grad, theirs.weight.grad, rtol=1e-5)
    derivative = ours.definition.derivative(x.detach())
    assert torch.equal(derivative, torch.where(x > 0, 1.0, slopes[None, :, None, None]))


def test_the_definition_of_a_layer_follows_training():
    layer = Swish(beta=0.5).layer(trainable=True)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    x = torch.linspace(-4, 4, 200)
    for _ in range(400):
        optimizer.zero_grad()
        (layer(x) - Swish(beta=2.0)(x)).square().mean().backward()
        optimizer.step()
    assert layer.definition.beta.item() == pytest.approx(2.0, abs=1e-2)
    assert recognise(layer).label == f"swish(beta={layer.beta.item():.4g})"


def test_replaced_field_gets_its_gradient():
    beta = nn.Parameter(torch.tensor(1.3, dtype=torch.float64))
    act = dataclasses.replace(Swish(), beta=beta)
    x = torch.randn(9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda b, t: dataclasses.replace(act, beta=b)(t), (beta, x))
    assert torch.autograd.gradcheck(lambda b, t: dataclasses.replace(act, beta=b).derivative(t), (beta, x))
    alpha = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, t: ELU(alpha=a)(t), (alpha, x))


def test_beta_zero_has_the_right_gradient():
    beta, x = torch.tensor(0.0, requires_grad=True), torch.tensor([-2.0, 3.0])
    Swish(beta=beta)(x).sum().backward()
    assert beta.grad.item() == pytest.approx((4 + 9) / 4)  # d/dβ x σ(βx) = x² σ′(0)


def test_layers_of_fixed_functions_have_no_parameters():
    assert not list(ReLU().layer().parameters())
    assert not list(Swish().layer().parameters())
    assert not list(PReLU().layer(trainable=False).parameters())
    with pytest.raises(InputError, match="no parameters"):
        ReLU().layer(trainable=True)
    with pytest.raises(InputError, match="channels=0"):
        PReLU().layer(channels=0)


def test_a_wrong_number_of_channels_is_said():
    with pytest.raises(InputError, match=r"shape \(4,\) for an input of shape \(2, 3\)"):
        PReLU().layer(channels=4)(torch.randn(2, 3))


def test_repr():
    assert repr(Swish(beta=1.5).layer()) == "ActivationLayer(swish(beta=1.5))"
    assert repr(PReLU().layer(channels=8)) == "ActivationLayer(prelu, trained: slope, channels=8)"
    assert repr(Softmax(dim=1).layer()) == "ActivationLayer(softmax(dim=1))"


def test_funnel_in_evaluation_is_its_definition():
    layer = FReLU().layer(channels=4)
    assert isinstance(layer, FunnelReLU)
    x = torch.randn(8, 4, 6, 5)
    for _ in range(3):
        layer(x)
    layer.eval()
    assert torch.allclose(layer(x), layer.definition(x), atol=1e-6)
    layer.train()
    condition = layer.norm(layer.window(x))
    assert torch.allclose(layer(x), torch.maximum(x, condition))
    assert condition.mean().abs() < 1e-5
    assert condition.std().item() == pytest.approx(1, abs=0.05)
    with pytest.raises(InputError, match=r"\(N, 4, H, W\)"):
        layer(torch.randn(2, 3, 5, 5))
