"""What changed between two runs."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import undertow as ut
from undertow.cli.main import main
from undertow.diagnosis.difference import difference

DEPTH = 10


def trained(path, activation=nn.Tanh, gain=1.0, loss_scale=1.0, data=0, steps=24):
    torch.manual_seed(0)
    layers = [m for _ in range(DEPTH) for m in (nn.Linear(32, 32), activation())]
    model = nn.Sequential(*layers, nn.Linear(32, 4))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight, gain)
    optimizer = torch.optim.SGD(model.parameters(), 0.05 / loss_scale)
    draw = torch.Generator().manual_seed(data)
    with ut.watch(model, optimizer=optimizer, budget=None, path=path) as run:
        for _ in range(steps):
            x = torch.randn(64, 32, generator=draw)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), x[:, :4].argmax(1)) * loss_scale
            loss.backward()
            optimizer.step()
            run.log(loss)
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diff")
    made = {
        "base": {},
        "again": {},
        "data": {"data": 1},
        "scaled": {"loss_scale": 1e4},
        "sigmoid": {"activation": nn.Sigmoid},
        "small": {"gain": 0.5},
    }
    return folder, {name: trained(folder / f"{name}.undertow", **settings) for name, settings in made.items()}


def between(runs, before, after):
    found = {name: run.diagnose() for name, run in runs[1].items() if name in (before, after)}
    return difference(found[before], found[after])


def test_a_run_does_not_differ_from_itself(runs):
    found = between(runs, "base", "again")
    assert not found.changed
    assert not found.facts
    assert all(c.ratio == 1.0 for c in (*found.start, *found.late))


def test_other_batches_are_no_change_and_neither_is_another_scale_of_the_loss(runs):
    assert not [c for c in between(runs, "base", "data").late if c.sure]
    scaled = between(runs, "base", "scaled")
    assert not [c for c in (*scaled.start, *scaled.late) if c.sure]
    assert set(scaled.facts) == {"learning_rate"}


def test_a_new_fault_is_worse_and_a_cured_one_is_gone(runs):
    worse, better = between(runs, "base", "sigmoid"), between(runs, "sigmoid", "base")
    assert worse.worse
    assert [f.kind for f in worse.appeared] == ["vanishing"]
    assert (better.worse, [f.kind for f in better.gone]) == (False, ["vanishing"])
    assert len(worse.only_before) == len(worse.only_after) == DEPTH


def test_smaller_weights_show_at_each_layer_with_their_factor(runs):
    changed = {c.place: c.ratio for c in between(runs, "base", "small").start if c.measure == "factor" and c.sure}
    linear = [ratio for place, ratio in changed.items() if "linear" in place]
    assert len(linear) == DEPTH  # but for the first, which has none before it
    assert all(ratio == pytest.approx(0.5, rel=0.1) for ratio in linear)


@pytest.mark.parametrize(
    ("before", "after", "status", "first"),
    [
        ("base", "sigmoid", 1, "WORSE: Vanishing gradient"),
        ("sigmoid", "base", 0, "BETTER: gone is Vanishing gradient"),
        ("base", "again", 0, "THE SAME"),
    ],
)
def test_the_command_says_so_first_and_by_its_status(runs, before, after, status, first, capsys):
    files = [str(runs[0] / f"{name}.undertow") for name in (before, after)]
    assert main(["diff", *files]) == status
    assert capsys.readouterr().out.startswith(first)
    assert main(["diff", *files, "--format", "json"]) == status
    assert json.loads(capsys.readouterr().out)["worse"] == (status == 1)
