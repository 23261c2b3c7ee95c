"""A diagnosis from the run file is the one in memory."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import undertow as ut
from undertow.diagnosis import Diagnosis, Rule, all_rules, watch
from undertow.foundation import InputError, ModelError, NothingObservedError, OutputError, UnknownNameError
from undertow.probe import Observer
from undertow.probe.describe import describe
from undertow.record.runfile import RunFile, opened


def told(diagnosis: Diagnosis) -> str:
    """All of it, NaN equal to NaN; sentences too."""
    sentences = [(str(f), f.overturned_by, f.values) for f in diagnosis.findings]
    return repr((diagnosis, sentences))


def train(example, **how):
    with watch(example.model, example.optimizer, **how) as run:
        for inputs, target in example.batches:
            example.optimizer.zero_grad()
            loss = example.loss(example.model(inputs), target)
            loss.backward()
            example.optimizer.step()
            run.log(loss)
    return run


@pytest.mark.parametrize("kind", ["sick", "healthy"])
@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.name)
def test_the_diagnosis_of_a_file_is_that_of_the_run(tmp_path: Path, rule: Rule, kind: str) -> None:
    run = train(getattr(rule, kind)(), path=tmp_path / "run.undertow", budget=None)
    saved = ut.load(tmp_path / "run.undertow")
    assert run.path == saved.path == tmp_path / "run.undertow"
    assert told(saved.diagnose()) == told(run.diagnose())
    assert saved.diagnose().findings == run.diagnose().findings
    assert (kind == "sick") <= bool(saved.diagnose().findings)
    assert saved.damage == ()


def net(**more):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def step(model, optimizer, x=None):
    optimizer.zero_grad()
    model(torch.randn(5, 4) if x is None else x).square().mean().backward()
    optimizer.step()


def test_with_a_run_file_the_weights_are_the_same_bit_for_bit(tmp_path: Path) -> None:
    ends = []
    for path in (None, tmp_path / "run.undertow"):
        model = net()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        with watch(model, optimizer, path=path, budget=None):
            for _ in range(20):
                step(model, optimizer)
        ends.append([*(p.detach().clone() for p in model.parameters()), torch.get_rng_state()])
    assert all(map(torch.equal, *ends))


def test_a_run_is_read_while_it_goes_on_and_described(tmp_path: Path) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, path=tmp_path / "a.undertow") as run:
        step(model, optimizer)
        assert run.path
        with pytest.raises(NothingObservedError, match="no model was observed"):
            ut.load(run.path).diagnose()
    assert ut.load(run.path).environment["torch"] == torch.__version__
    with opened(run.path) as db:
        modules = db.execute("SELECT name, kind, details FROM modules").fetchall()
        shapes = dict(db.execute("SELECT name, shape FROM parameters"))
    assert modules[0] == ("", "Sequential", "")
    assert modules[1] == ("0", "Linear", "in_features=4, out_features=8, bias=True")
    assert shapes == {"0.weight": "[8,4]", "0.bias": "[8]", "2.weight": "[2,8]", "2.bias": "[2]"}


def test_lazy_modules_tell_their_shapes_in_the_end(tmp_path: Path) -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 2))
    assert describe(model).parameters[0].shape is None
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with watch(model, optimizer, path=tmp_path / "a.undertow") as run:
        step(model, optimizer)
    with opened(tmp_path / "a.undertow") as db:
        assert dict(db.execute("SELECT name, shape FROM parameters"))["0.weight"] == "[8,4]"
    assert len(ut.load(tmp_path / "a.undertow").recording.steps) == len(run.recording.steps) == 1


def test_two_models_are_asked_for_by_name(tmp_path: Path) -> None:
    models = {"generator": net(), "critic": net()}
    optimizers = {n: torch.optim.SGD(m.parameters(), 0.1) for n, m in models.items()}
    file = RunFile(tmp_path / "gan.undertow")
    observers = {n: Observer(m, optimizers[n], None, name=n, sinks=[file]) for n, m in models.items()}
    for _ in range(3):
        for name, model in models.items():
            step(model, optimizers[name], torch.full((5, 4), math.inf) if name == "critic" else None)
    for observer in observers.values():
        observer.close()
    file.close()
    saved = ut.load(file.path)
    assert saved.names == ("generator", "critic")
    assert saved.diagnose() == saved.diagnose("generator")
    assert saved.diagnose().healthy
    assert [f.kind for f in saved.diagnose("critic").findings] == ["nonfinite"]
    with pytest.raises(UnknownNameError, match="'generator' or 'critic'"):
        saved.diagnose("discriminator")


def test_where_no_file_can_be_made_nothing_is_hooked(tmp_path: Path) -> None:
    model = net()
    with pytest.raises(OutputError, match="the run file"):
        watch(model, path=tmp_path)
    assert not model._forward_hooks
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
    with pytest.raises(ModelError):
        watch(nn.ReLU(), path=tmp_path / "a.undertow")
    with pytest.raises(InputError):
        watch(model, path=tmp_path / "a.undertow", budget=2)
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_rank_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with watch(net(), path=tmp_path / "a.undertow") as run:
        pass
    assert run.path is None
    assert list(tmp_path.iterdir()) == []
