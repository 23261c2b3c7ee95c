"""Gated blocks: the written-out block's numbers to the last bit, with the two halves kept only."""

import pytest
import torch
from lean_pairs import kept_bytes, same
from torch import nn

import undertow as ut
from undertow.foundation import InputError

BLOCKS = {"swiglu": (ut.nn.SwiGLU, "silu"), "geglu": (ut.nn.GEGLU, "gelu"), "reglu": (ut.nn.ReGLU, "relu")}


class WrittenOut(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.act, self.gate, self.up = block.activation, block.gate, block.up
        self.down = nn.Linear(block.down.in_features, block.down.out_features, bias=False)
        self.down.weight = block.down.weight

    def forward(self, x):
        return self.down(self.act(self.gate(x)) * self.up(x))


def run(model, x, autocast=False):
    model.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = model(x)
    y.square().sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in dict(sorted(model.named_parameters())).values())]


@pytest.mark.parametrize(("block", "name"), BLOCKS.values(), ids=BLOCKS)
def test_gradients_are_those_of_the_block_written_out(block, name):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        ours = block(6, 20, 5).to(dtype)
        theirs = WrittenOut(ours)
        x = torch.randn(2, 7, 6).to(dtype)
        assert same(run(ours, x), run(theirs, x))
        assert torch.equal(ours(x), ours.down(ut.activation(name)(ours.gate(x)) * ours.up(x)))
    ours = block(6, 20)
    assert same(run(ours, x.float(), autocast=True), run(WrittenOut(ours), x.float(), autocast=True))


def test_the_two_halves_are_all_that_is_kept():
    ours = ut.nn.SwiGLU(8, 64).bfloat16()
    x = torch.randn(32, 8, dtype=torch.bfloat16, requires_grad=True)
    half = 32 * 64 * 2
    assert kept_bytes(ours(x), ours) == x.nbytes + 2 * half
    assert kept_bytes(WrittenOut(ours)(x), ours) == x.nbytes + 4 * half


def test_lean_leaves_the_block_as_it_is():
    model = nn.Sequential(nn.Linear(8, 8), ut.nn.SwiGLU(8, 64))
    x = torch.randn(4, 8)
    expected, kept = run(model, x), kept_bytes(model(x), model)
    account = ut.lean(model)
    assert "1.down" in account.left
    assert same(run(model, x), expected)
    assert kept_bytes(model(x), model) == kept
    assert account.spared == 0


def test_a_learned_gate_and_second_derivatives():
    beta = ut.activations.Swish(beta=0.7).layer(trainable=True)
    ours = ut.nn.GatedMLP(beta, 4, 6).double()
    theirs = WrittenOut(ours)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert same(run(ours, x.detach()), run(theirs, x.detach()))
    results = []
    for model in (ours, theirs):
        first = torch.autograd.grad(model(x).sin().sum(), (x, *ours.parameters()), create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), (x, *ours.parameters())))
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*results, strict=True))
    assert torch.allclose(torch.func.vmap(ours)(x), theirs(x), rtol=1e-14)


def test_sizes_are_checked():
    assert ut.nn.SwiGLU(8, 24).down.out_features == 8
    assert [n for n, _ in ut.nn.SwiGLU(8, 24).named_parameters()] == ["gate.weight", "up.weight", "down.weight"]
    with pytest.raises(InputError, match="sizes 8, 0, 8"):
        ut.nn.SwiGLU(8, 0)
