"""The search: the untouched control and each cure on the same seeds."""

import random
from dataclasses import dataclass

import numpy
import pytest
import torch
from cure_nets import Functional, mlp, training
from sklearn.datasets import load_digits
from torch import nn

from undertow.cures import Cure, Training, all_cures, cure
from undertow.cures.trials.seeding import seed_everything
from undertow.foundation import BatchError, InputError, Reference, UnknownNameError, language
from undertow.foundation.messages import catalogue


def make(seed: int) -> Training:
    return training(mlp(nn.Tanh), batches=10)


@dataclass(frozen=True)
class Poison(Cure):
    """Turns a weight into NaN."""

    name = "poison"
    reference = Reference("nobody", 2000, "nothing")
    treats = ("nonfinite",)

    def applies(self, training: Training) -> str | None:
        return None

    def change(self, training: Training) -> None:
        with torch.no_grad():
            next(training.model.parameters())[0, 0] = torch.nan

    def patch(self, training: Training) -> str:
        return "model[0].weight[0, 0] = float('nan')\n"


class Crash(Poison):
    def change(self, training: Training) -> None:
        raise RuntimeError("no such device")


class Interrupted(Poison):
    def change(self, training: Training) -> None:
        raise KeyboardInterrupt


def digits(seed: int, depth: int = 12, width: int = 64) -> Training:
    """A deep sigmoid network on the real digits, stuck at chance."""
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = ((x - x.mean()) / x.std()).float()
    order = torch.randperm(len(x))
    x, y = x[order], y[order].long()
    layers = [m for i in range(depth) for m in (nn.Linear(width if i else 64, width), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    batches = [(x[i % 1400 : i % 1400 + 64], y[i % 1400 : i % 1400 + 64]) for i in range(0, 64 * 150, 64)]
    return Training(
        model,
        torch.optim.SGD(model.parameters(), lr=0.02),
        nn.functional.cross_entropy,
        batches,
        metric=lambda m: (m(x[1464:]).argmax(1) == y[1464:]).float().mean(),
    )  # pyright: ignore


def test_relu_with_matched_weights_cures_a_deep_sigmoid_network_on_real_digits():
    verdicts = cure(digits, cures=["relu", "clip_norm"])
    relu = verdicts["relu"]
    assert (relu.outcome, verdicts.best) == ("cured", relu)
    assert relu.before < 0.2
    assert relu.after > 0.8
    assert 0.4 < relu.interval[0] < relu.after - relu.before < relu.interval[1]
    assert "vanishing" in verdicts.control_findings
    assert "vanishing" not in relu.remaining
    assert verdicts["clip_norm"].outcome == "no effect"
    assert "vanishing" in verdicts["clip_norm"].remaining
    assert (verdicts.metric, verdicts.steps, len(relu.curves), len(relu.curves[0])) == ("metric", 150, 3, 150)


@pytest.mark.slow
def test_every_cure_is_judged_and_the_result_is_the_same_again():
    first, second = cure(make, cures=all_cures()), cure(make, cures=all_cures())
    assert first == second
    assert len(first) == len(all_cures())
    assert first.metric == "minus held-out loss"
    assert first.steps == 8
    assert {len(v.afters) for v in first if v.outcome != "not applicable"} == {3}


def test_by_default_the_cures_for_what_was_found_are_tried():
    def small(seed: int) -> Training:
        return digits(seed, depth=8, width=24)

    verdicts = cure(small, steps=90)
    assert verdicts.control_findings == ("vanishing",)
    tried = {lane.cure.label for lane in verdicts.raced if lane.cure}
    assert {"relu", "batch_norm", "relu + adam"} <= tried
    assert not {"clip_norm", "zero_bias"} & tried
    assert len({lane.steps for lane in verdicts.raced}) == 3
    assert [v.outcome for v in verdicts] == ["cured"]
    assert verdicts.raced[0].cure
    assert verdicts.best
    assert verdicts.best.cure == verdicts.raced[0].cure.label


def test_nothing_is_tried_where_nothing_was_found():
    verdicts = cure(make, seeds=(0, 1))
    assert (len(verdicts), verdicts.best, verdicts.control_findings) == (0, None, ())


def test_the_generators_of_the_caller_are_left_alone():
    seed_everything(5)
    cure(make, seeds=(0, 1), cures=["relu"])
    after = torch.rand(1).item(), numpy.random.rand(), random.random()
    seed_everything(5)
    assert after == (torch.rand(1).item(), numpy.random.rand(), random.random())


def test_harm_is_reported_and_the_search_goes_on():
    verdicts = cure(make, cures=[Poison(), "adam"])
    assert verdicts["poison"].outcome == "harmed"
    assert "no longer finite" in verdicts["poison"].reason
    assert verdicts["adam"].outcome != "harmed"
    assert len(verdicts) == 2
    crashed = cure(make, cures=[Crash()])["poison"]
    assert crashed.outcome == "harmed"
    assert crashed.reason == "RuntimeError: no such device"
    assert crashed.patch == ""


def test_ctrl_c_keeps_what_is_proven():
    verdicts = cure(make, seeds=(0, 1), cures=["relu", Interrupted(), "adam"])
    assert verdicts.interrupted
    assert [v.cure for v in verdicts] == ["relu"]
    assert len(verdicts["relu"].afters) == 2
    assert not cure(make, seeds=(0, 1), cures=["relu"]).interrupted


def test_what_does_not_apply_says_why():
    verdict = cure(lambda seed: training(Functional()), seeds=(0, 1), cures=["relu"])["relu"]
    assert verdict.outcome == "not applicable"
    assert "calls relu in forward" in verdict.reason


def test_the_structure_may_change_with_the_seed():
    verdicts = cure(lambda seed: training(mlp(nn.Tanh, depth=2 + seed)), seeds=(0, 1), cures=["batch_norm"])
    assert verdicts["batch_norm"].reason == ""
    mixed = cure(lambda seed: training(Functional() if seed else mlp()), seeds=(0, 1), cures=["relu"])
    assert mixed["relu"].outcome == "not applicable"


def test_a_seed_whose_make_fails_is_a_result():
    def sometimes(seed: int) -> Training:
        if seed == 1:
            raise OSError("disk gone")
        return make(seed)

    verdicts = cure(sometimes, cures=["adam"])
    assert verdicts.control_reason == "OSError: disk gone"


def test_without_diagnosis_nothing_is_called_cured():
    verdicts = cure(digits, seeds=(0, 1), cures=["relu"], diagnose=False, steps=60)
    assert verdicts["relu"].remaining == ()
    assert verdicts["relu"].outcome in ("helped", "no effect")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"make": lambda seed: mlp()}, InputError, r"Sequential from make\(seed\).*ut.Training"),
        ({"make": make(0)}, InputError, "make of type Training"),
        ({"make": make, "seeds": ()}, InputError, r"seeds=\(\)"),
        ({"make": make, "seeds": (1, 1)}, InputError, "different whole numbers"),
        ({"make": make, "seeds": (0.5,)}, InputError, "whole numbers"),
        ({"make": make, "steps": 0}, InputError, "steps=0"),
        ({"make": make, "cures": ["reul"]}, UnknownNameError, "'relu'"),
        ({"make": lambda seed: training(mlp(), batches=1)}, BatchError, "a single batch"),
        ({"make": lambda seed: training(mlp(), shape=(7,))}, BatchError, "which the model refuses"),
        ({"make": lambda seed: training(mlp(), clip=-1)}, InputError, "clip=-1"),
        ({"make": lambda seed: training(mlp(), metric=lambda m: {}["accuracy"])}, InputError, "KeyError: 'accuracy'"),
    ],
)
def test_bad_input(arguments, kind, message):
    with pytest.raises(kind, match=message):
        cure(**arguments)


def test_a_broken_optimizer_is_named():
    given = make(0)
    given.optimizer = 0.1  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(InputError, match=r"Training.optimizer of type float.*torch Optimizer"):
        cure(lambda seed: given)


def test_both_languages_have_the_same_messages():
    english, korean = ({k for k in catalogue(code) if k.startswith("cures.")} for code in ("en", "ko"))
    assert english == korean
    with language("ko"):
        reason = cure(lambda seed: training(Functional()), seeds=(0, 1), cures=["relu"])["relu"].reason
    assert "forward에서 relu을(를)" in reason
