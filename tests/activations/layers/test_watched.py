"""The ledger sees lean layers as it sees the plain pair, and watching changes no bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import undertow as ut


def make(kind):
    torch.manual_seed(0)
    tanh = ut.activation("tanh").layer()
    plain = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 16), tanh, nn.Linear(16, 3))
    if kind == "activated":
        pairs = (ut.nn.ActivatedLinear.from_linear(plain[i], plain[i + 1]) for i in (1, 3))
        return nn.Sequential(plain[0], *pairs)
    if kind == "lean":
        ut.lean(plain)
    return plain


BATCH = torch.randn(32, 8), torch.randint(0, 3, (32,))


@pytest.mark.parametrize("kind", ["activated", "lean"])
def test_the_ledger_has_the_same_factors(kind):
    ours, theirs = (ut.examine(make(k), BATCH, F.cross_entropy).ledger.entries for k in (kind, "plain"))
    columns = ("factor", "activation", "weights", "normalisation", "branching", "forward_rms", "backward_rms")
    assert [[getattr(e, c) for c in columns] for e in ours] == [[getattr(e, c) for c in columns] for e in theirs]
    assert [e.site.effect for e in ours] == ["weights", "activation", "weights", "activation", "weights"]
    if kind == "lean":
        assert [str(e.site) for e in ours] == [str(e.site) for e in theirs]


def test_the_ledger_of_a_gated_block():
    model = nn.Sequential(nn.Linear(8, 8), ut.nn.SwiGLU(8, 16), nn.Linear(8, 3))
    entries = ut.examine(model, BATCH, F.cross_entropy).ledger.entries
    assert [e.site.effect for e in entries].count("activation") == 1
    assert {"1.gate#0", "1.up#0", "1.down#0"} <= {str(e.site) for e in entries}


@pytest.mark.parametrize("kind", ["activated", "lean"])
def test_watching_changes_no_bit(kind):
    x, target = BATCH
    runs = []
    for watched in (False, True):
        model = make(kind)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

        def step(model=model, optimizer=optimizer):
            optimizer.zero_grad()
            F.cross_entropy(model(x), target).backward()
            optimizer.step()

        if watched:
            with ut.watch(model, optimizer=optimizer, budget=None):
                [step() for _ in range(3)]
        else:
            [step() for _ in range(3)]
        runs.append([p.detach() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
