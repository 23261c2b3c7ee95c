"""The harness of the score: its arithmetic on numbers that are known, its changes on runs that must not change."""

import json
import sys
from dataclasses import asdict, replace
from typing import get_args

import pytest
import torch
from benchmarks.score.__main__ import main
from benchmarks.score.interval import clopper_pearson
from benchmarks.score.metamorphic import CHANGES, accumulated
from benchmarks.score.outcome import Outcome, Said, judged
from benchmarks.score.page import page
from benchmarks.score.peers import mapped
from benchmarks.score.sources import CASES as SHARED
from benchmarks.score.sources import chosen, label_holds, matrix, public, scaled
from benchmarks.score.tools import TOOLS, gradient_ratio, undertow, zero_share
from benchmarks.score.training import Case, Training, faulty, healthy, own_cases
from benchmarks.score.truth import reached
from torch import nn

from undertow.foundation import InputError
from undertow.foundation.vocabulary import Kind

CASES = list(own_cases().values())


def result(case: str, expect: str, *said: Said, where: str = "", cause: str = "weights", error: str = "") -> Outcome:
    sets = (tuple(expect.split("|")),) if expect else ()
    return Outcome(case, "own", 0, sets, cause if expect else "none", where, said, error, 1.0, 0.9)


def shortened(name: str, steps: int = 10) -> Training:
    training = own_cases()[name].training(0)
    return replace(training, batches=training.batches[:steps])


def test_interval_is_exact():
    assert clopper_pearson(0, 69) == pytest.approx((0.0, 1 - 0.025 ** (1 / 69)))
    assert clopper_pearson(102, 102) == pytest.approx((0.025 ** (1 / 102), 1.0))
    assert clopper_pearson(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)  # Clopper and Pearson 1934
    with pytest.raises(ValueError, match="3 hits of 2"):
        clopper_pearson(3, 2)


def test_what_counts_as_found():
    seen = Said("dead", "critical", "weights", "conv2 (conv2d)", 3)
    right = result("a", "dead|saturated", seen, Said("vanishing", "warning", "depth", "conv1"), where="conv2")
    assert right.found
    assert right.right_cause
    assert right.right_place
    assert not right.false_alarm
    other = result("b", "vanishing", seen, where="conv2")
    assert not other.found
    assert not other.right_place
    assert not result("c", "dead", seen, cause="depth|activation").right_cause
    assert result("d", "", seen).false_alarm
    assert not result("e", "").false_alarm


def test_every_kind_has_a_model_and_every_model_a_reason():
    assert sum(c.healthy for c in CASES) >= 40
    sick = [c for c in CASES if not c.healthy]
    assert len(sick) >= 30
    assert {kind for c in sick for kind in c.expect[0]} == set(get_args(Kind))
    assert all(len(c.why) > 15 and c.good > 0 for c in CASES)


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="two models are called zero_head"):

        @healthy(good=1.0)
        def zero_head() -> Training:
            """Again."""
            raise AssertionError

    with pytest.raises(ValueError, match="no docstring"):

        @faulty("dead", cause="weights", good=1.0)
        def undescribed(planted: bool) -> Training:
            raise AssertionError(planted)


def test_choosing_cases():
    assert {c.name for c in chosen(CASES, ["zero_head"])} == {"zero_head"}
    assert all("dead" in c.expect[0] for c in chosen(CASES, ["dead"]))
    assert chosen(CASES, []) == CASES
    with pytest.raises(InputError, match="--only zero_haed"):
        chosen(CASES, ["zero_haed"])


def test_the_cases_may_be_missing(tmp_path, capsys):
    with pytest.raises(InputError, match=r"no cases\.py"):
        public(tmp_path)
    assert main(["--cases", str(tmp_path)]) == 2
    assert "make score" in capsys.readouterr().err


def test_cases_of_a_folder_are_built_from_their_seed(tmp_path):
    (tmp_path / "cases.py").write_text(
        "import torch\n"
        "from types import SimpleNamespace as N\n"
        "case = N(id='a', expect=(frozenset({'dead'}),), cause='depth', layer='hidden1', note='why')\n"
        "CASES = {'a': case}\n"
        "def build(name, seed):\n"
        "    torch.manual_seed(seed)\n"
        "    model = torch.nn.Linear(2, 1)\n"
        "    batches = lambda: [torch.ones(4, 2)] * 3\n"
        "    loss = lambda model, x: model(x).square().mean()\n"
        "    optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        "    return N(model=model, optimizer=optimizer, loss_fn=loss, batches=batches, accumulate=1, clip=None,\n"
        "             autocast=None, metric=lambda m: float(m.bias))\n"
    )
    sys.modules.pop("cases", None)
    (case,) = public(tmp_path)
    torch.manual_seed(5)
    first = nn.Linear(2, 1).weight
    assert torch.equal(case.training(5).model.get_parameter("weight"), first)
    assert (case.cause, case.where, case.expect) == ("depth", "hidden1", (frozenset({"dead"}),))
    losses = case.training(5).train()
    assert losses[2] < losses[0]


def test_the_matrix_is_healthy():
    rows = {c.name for c in matrix()}
    assert "matrix_3-batch_norm_mends_it" in rows
    assert "matrix_1-deep_sigmoid" not in rows  # it vanishes


def test_a_change_leaves_the_training_as_it_is():
    losses = shortened("zero_head").train()
    assert accumulated(shortened("zero_head")).train() == pytest.approx(losses, rel=1e-4)
    for name in ("zero_head", "lost_in_rounding"):
        plain = shortened(name).train()
        assert [x / 1e-3 for x in scaled(shortened(name), 1e-3).train()] == pytest.approx(plain, rel=2e-2), name
    plain, sgd = shortened("catapult"), scaled(shortened("catapult"), 1e5)
    assert [x / 1e5 for x in sgd.train()] == pytest.approx(plain.train(), rel=1e-4)
    assert sgd.optimizer.param_groups[0]["lr"] == pytest.approx(plain.optimizer.param_groups[0]["lr"] / 1e5)


@pytest.mark.parametrize("change", CHANGES)
def test_verdicts_survive_a_change(change):
    """A few runs, cut short; `make score ARGS=--metamorphic` has all of them, whole."""
    for name in ("above_six", "sigmoid_and_square"):
        plain = {s.kind for s in undertow(shortened(name, 6))}
        assert {s.kind for s in undertow(CHANGES[change](shortened(name, 6)))} == plain, name
        assert bool(plain) == (name != "sigmoid_and_square")


def test_the_folk_rules():
    assert [s.kind for s in gradient_ratio(shortened("hard_sigmoids"))] == ["vanishing"]
    assert [s.kind for s in gradient_ratio(shortened("loud_selu"))] == ["exploding"]
    assert not gradient_ratio(shortened("zero_head"))
    assert [s.kind for s in zero_share(shortened("one_layer_below_zero", 3))] == ["dead"]
    assert not zero_share(shortened("zero_head"))


def test_verdicts_of_others_count_in_their_favour():
    assert {s.kind for s in mapped("torchmortem", ["Update ratio too high in act1"])} == {"unstable_lr", "exploding"}
    assert [s.kind for s in mapped("torchmortem", ["Inter-layer weight norm imbalance"])] == ["other"]
    assert not mapped("torchdiag", [])


def test_a_tool_that_breaks_down_has_said_nothing():
    def broken(_training: Training) -> list[Said]:
        raise RuntimeError("no such layer")

    done = judged(own_cases()["zero_head"], 0, broken)
    assert done.error == "RuntimeError: no such layer"
    assert not done.said


def test_page_names_every_miss_and_every_false_alarm():
    seen = Said("dead", "critical", "depth", "conv1", 3)
    outcomes = [
        result("lost", "vanishing"),
        result("cried", "", seen),
        result("blamed", "dead", seen, where="conv2"),
        result("fine", "", error="RuntimeError: | no such layer"),
    ]
    saved = {"date": "2026-01-01", "machine": "one", "version": "0", "outcomes": [asdict(o) for o in outcomes]}
    case = Case("lost", lambda: None, why="because it is")
    text = page({("undertow", "own"): json.loads(json.dumps(saved))}, {"lost": case}, None)
    assert "| **undertow** | own | 0 | 1 / 2 = 50 % (1 % to 99 %) | 1 / 2 = 50 % (1 % to 99 %) |" in text
    assert "| `lost` | 0 | vanishing | nothing | because it is |" in text
    assert "| `cried` | 0 | nothing | critical dead (depth) at `conv1` from step 3 |" in text
    assert "| `blamed` | 0 | weights |" in text
    assert "| `blamed` | 0 | `conv2` |" in text
    assert "RuntimeError: \\| no such layer" in text


def test_first_sight_is_taken_once(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.score.__main__.RESULTS", tmp_path)
    monkeypatch.setattr("benchmarks.score.__main__.PAGE", tmp_path / "page.md")
    monkeypatch.setitem(TOOLS, "undertow", lambda _training: [Said("dead", "critical", "depth", "conv1", 3)])
    again = ["--first-sight", "--only", "large_epsilon", "--seeds", "0", "--jobs", "1"]
    (tmp_path / "cases.py").write_text("CASES = {}\n")
    again += ["--cases", str(tmp_path)]
    assert main(again) == 0
    (kept,) = json.loads((tmp_path / "score-first-sight.json").read_text())["outcomes"]
    assert kept["said"][0][0] == "dead"
    monkeypatch.setitem(TOOLS, "undertow", lambda _training: [])
    assert main(again) == 0
    assert json.loads((tmp_path / "score-first-sight.json").read_text())["outcomes"] == [kept]
    text = (tmp_path / "page.md").read_text()
    assert (
        "| `large_epsilon` | 0 | too_small_lr (learning_rate) | critical dead (depth) at `conv1` from step 3 |" in text
    )


def test_a_change_that_changes_the_training_is_measured():
    """Clipping cures the parabola (cures.json of the public cases has it); another unit of the loss cures nothing."""
    pytest.importorskip("sklearn")
    if not SHARED.is_dir():
        pytest.skip("the public cases are not part of this repository")
    case = next(c for c in public() if c.name == "parabola_relu2")
    assert label_holds(case, 0, CHANGES["loss × 1e-06"])
    assert not label_holds(case, 0, CHANGES["clipping to 1"])


def test_page_names_every_changed_verdict():
    changed = {"case": "cured", "seed": 1, "before": "exploding", "now": "nothing", "true": False}
    by_change = {
        "clipping": {"runs": 5, "same": 4, "answers": 3, "changed": [changed | {"right": False, "was_right": True}]}
    }
    text = page({}, {}, {"date": "", "machine": "", "seeds": [0, 1], "by_change": by_change})
    assert "| clipping | 4 / 5 | 3 / 5 |" in text
    assert "| clipping | `cured` | 1 | exploding | nothing | no longer holds | lost |" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", [c.name for c in CASES[::6]])
def test_labels_hold(name):
    """`make score ARGS=--truth` has all of them."""
    case = own_cases()[name]
    if case.healthy:
        assert reached(name, 0, True) >= case.good
    else:
        assert reached(name, 0, False) >= case.good
        assert case.stays_good or reached(name, 0, True) < case.good
