"""What is tried, in which order, and what is tried next."""

from __future__ import annotations

import math

import pytest
import torch
from cure_nets import mlp, training
from test_race import Laid
from torch import Tensor, nn

from undertow.cures import Training, chosen
from undertow.cures.search.changes import family, fits, joined, parts, rated, spread, usual, variants
from undertow.cures.search.contest import contest, plans
from undertow.cures.search.prescription import prescribe
from undertow.cures.search.together import Together
from undertow.diagnosis import Finding

ADAM, RELU, ELU, BATCH, INIT, ORTHOGONAL, WIDER = chosen(
    ["adam", "relu", "elu", "batch_norm", "matched_init", "orthogonal_init", "wider"]
)


def finding(kind="vanishing", cause="activation", cures=("relu", "batch_norm")) -> Finding:
    return Finding(kind=kind, severity="critical", cause=cause, where="0", step=0, cures=cures)


def small(**given) -> Training:
    return training(mlp(nn.Sigmoid, depth=2), **given)


def labels(of) -> list[str]:
    return [joined(one).label for one in of]


@pytest.mark.parametrize(
    ("before", "factor", "after"),
    [
        ("adam", 10, "adam + learning_rate ×10"),
        ("learning_rate ×0.1", 0.1, "learning_rate ×0.01"),
        ("learning_rate ×0.1", 100, "learning_rate ×10"),
    ],
)
def test_rates_multiply(before: str, factor: float, after: str):
    assert joined(rated(chosen(before), factor)).label == after


def test_a_rate_that_comes_back_to_the_users_is_none():
    assert rated(chosen("learning_rate ×10"), 0.1) == ()


def test_usual_rates_are_adams_whatever_the_users():
    assert labels(usual(small(lr=7.0))) == ["adam", "adam + learning_rate ×10"]
    adaptive = small()
    adaptive.optimizer = torch.optim.RMSprop(adaptive.model.parameters(), lr=0.3)
    for handling in usual(adaptive):
        rate = joined(handling).apply(adaptive).optimizer.param_groups[0]["lr"]
        assert min(abs(math.log10(rate / one)) for one in (1e-3, 1e-2)) < 0.01
    adaptive.optimizer = torch.optim.Adam(adaptive.model.parameters(), lr=1e-3)
    assert labels(usual(adaptive)) == ["learning_rate ×10"]


def test_of_each_kind_of_change_one_at_a_time():
    assert family(RELU) == family(ELU) != family(BATCH)
    assert [c.name for c in spread([RELU, ELU, BATCH, INIT])] == ["relu", "batch_norm", "matched_init", "elu"]
    assert not fits(ELU, (RELU, ADAM))
    assert not fits(INIT, (RELU,)), "a swap draws the weights itself"
    assert not fits(ORTHOGONAL, (INIT,))
    assert fits(ORTHOGONAL, (RELU,))
    assert fits(WIDER, (RELU, BATCH))


def test_variants_are_one_step_away_and_put_the_network_first():
    leader = Together((RELU, ADAM))
    found = labels(variants(small(), leader, [RELU, ELU, BATCH, WIDER]))
    assert found[:4] == [
        "relu + wider + adam",
        "relu + adam + learning_rate ×0.1",
        "relu + batch_norm + adam",
        "relu + adam + learning_rate ×10",
    ]
    assert len(found) == 4
    assert "relu + adam" in labels(variants(small(), RELU, []))


def test_the_plans_begin_with_what_the_finding_names_under_each_usual_handling():
    sick, findings = small(), [finding()]
    found = labels(plans(sick, findings, prescribe(sick, findings), []))
    assert found[0] in ("relu", "adam")
    assert {"relu", "relu + adam", "relu + adam + learning_rate ×10", "batch_norm", "adam"} <= set(found[:12])
    assert len(found) == len(set(found))


@pytest.mark.parametrize(("kind", "factor"), [("too_small_lr", 1e4), ("unstable_lr", 1e-4)])
def test_a_finding_on_the_rate_has_it_looked_for_over_decades(kind: str, factor: float):
    sick, findings = small(), [finding(kind, "learning_rate", ("learning_rate",))]
    found = labels(plans(sick, findings, prescribe(sick, findings), []))
    assert f"learning_rate ×{factor:g}" in found
    assert f"learning_rate ×{1 / factor:g}" not in found


class Constant(nn.Module):
    """A softmax over one unit."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.act, self.out = nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 1)
        self.end = nn.Softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.out(self.act(self.hidden(x))))


def probability() -> Training:
    model = Constant()
    batches = [(torch.randn(16, 6), torch.randint(0, 2, (16, 1)).float()) for _ in range(30)]
    return Training(model, torch.optim.SGD(model.parameters(), 0.1), nn.functional.binary_cross_entropy, batches)


def test_a_repair_goes_along_with_everything():
    laid = Laid(lambda label, until: len(label) / 100)
    findings = [finding("loss_mismatch", "loss", ("sigmoid_output", "logits"))]
    found = contest(probability, findings, laid, 300, 4.0)
    assert found.lanes
    assert all(parts(lane.cure)[0].name in ("sigmoid_output", "logits") for lane in found.lanes)
    assert any({"matched_init", "adam"} <= {p.name for p in parts(lane.cure)} for lane in found.lanes)


def test_what_was_not_raced_says_why():
    found = contest(small, [finding()], Laid(lambda label, until: 0.5), 300, 4.0)
    raced = {part.label for lane in found.lanes for part in parts(lane.cure)}
    assert found.untried
    assert not raced & {p.cure.label for p in found.untried}
    assert all(p.why_not for p in found.untried)
    assert any(p.refused for p in found.untried), "there is no recurrent layer"


def test_a_cure_that_breaks_ends_no_search():
    class Broken(type(RELU)):
        def applies(self, training: Training) -> str | None:
            raise ZeroDivisionError("no blocks")

    (told,) = prescribe(small(), [finding()], [Broken()])
    assert told.refused == told.why_not == "ZeroDivisionError: no blocks"


def test_without_a_finding_every_cure_is_meant():
    """A run that broke off so early that nothing could be judged."""
    assert {p.cure.name for p in prescribe(small(), [])} >= {"relu", "adam", "clip_norm", "standardise"}


def test_an_undecided_proof_goes_on_to_more_seeds():
    """Where the control scatters, three seeds don't tell a gain that each of them shows."""

    class Scattered(nn.Module):
        def __init__(self, level: float) -> None:
            super().__init__()
            self.level, self.weight = level, nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight

    def make(seed: int) -> Training:
        model = Scattered((0.0, 0.0, 0.8, 0.1, 0.1, 0.1, 0.2, 0.2)[seed])
        batches = [(torch.ones(4, 2), torch.zeros(4, 2))] * 30
        return Training(
            model, torch.optim.SGD(model.parameters(), 1e-3), nn.functional.mse_loss, batches, metric=lambda m: m.level
        )

    class Lift(type(ADAM)):
        def applies(self, training: Training) -> str | None:
            return None

        def change(self, training: Training) -> None:
            training.model.level = 1.0  # pyright: ignore

    from undertow.cures.search.conduct import Search
    from undertow.cures.search.race import Lane
    from undertow.cures.trials.progress import progress_bar

    search = Search(make, (0, 1, 2), None, True, (10.0, "x"))
    with progress_bar(False) as bar, search.opened(None, "serial", None, bar):
        search.control()
        search._lanes = [Lane(Lift())]
        search._proof()
        found = search.result()
    assert found.seeds == (0, 1, 2, 6, 7)
    (verdict,) = found
    assert verdict.befores == found.control == (0.0, 0.0, 0.8, 0.2, 0.2)
    assert verdict.outcome in ("cured", "helped")
    assert verdict.interval[0] > 0


@pytest.mark.parametrize("cure", [INIT, ORTHOGONAL], ids=["matched", "orthogonal"])
def test_a_chain_without_activations_has_its_weights_drawn_for_the_gain_1(cure):
    layers = [nn.Linear(8 if i else 6, 8) for i in range(8)]
    loud = training(nn.Sequential(*layers, nn.Linear(8, 3)))
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(10)
    assert cure.applies(loud) is None
    drawn = cure.apply(loud).model
    assert drawn[3].weight.square().sum(1).mean().item() == pytest.approx(1, rel=0.5)
