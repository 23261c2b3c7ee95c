"""Vanishing, exploding and saturated along depth, where the look-alike trains and the fault does not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import undertow as ut
from undertow.diagnosis.examples import classify, mlp, observed
from undertow.diagnosis.judge import asked
from undertow.diagnosis.rule import Example, all_rules
from undertow.foundation import Finding
from undertow.record import Entry, Ledger, Reading, Recording, Site, Snapshot, StepReading
from undertow.record.flow import flow, trunk


def said(recording: Recording, *names: str) -> list[Finding]:
    return asked([rule for rule in all_rules() if rule.name in names], recording)[0]


def examined(model: nn.Module, inputs: Tensor) -> list[str]:
    return [f.kind for f in ut.examine(model, (inputs, torch.arange(len(inputs)) % 4), F.cross_entropy).findings]


def normalised(depth: int, lr: float) -> Example:
    torch.manual_seed(0)
    layers = [m for i in range(depth) for m in (nn.Linear(32 if i else 16, 32), nn.BatchNorm1d(32), nn.ReLU())]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return classify(nn.Sequential(*layers, nn.Linear(32, 4)), lr=lr, steps=12)


def test_steps_as_long_as_the_first_weights_are_a_fault_where_the_flow_explodes() -> None:
    (finding,) = said(observed(normalised(36, 0.2)), "exploding")
    assert (finding.cause, finding.where, finding.step) == ("depth", "0 (linear)", 0)
    moved = next(e for e in finding.evidence if e.name == "moved")
    assert not moved.within


def test_ten_normalised_layers_do_not_explode() -> None:
    assert said(observed(normalised(10, 0.2)), "exploding") == []


def test_a_head_that_begins_at_zero_is_no_vanishing_gradient() -> None:
    model = mlp("relu", depth=3, he=True)
    nn.init.zeros_(model[-1].weight)
    assert examined(model, torch.randn(64, 16)) == []
    assert said(observed(classify(model, steps=4)), "vanishing") == []


class Gated(nn.Module):
    """A gate that is shut nearly everywhere, beside a carry: units open it where they need it."""

    def __init__(self, gate: bool) -> None:
        super().__init__()
        self.first, self.out, self.gate = nn.Linear(16, 32), nn.Linear(32, 4), gate
        self.of_gate = nn.Linear(16, 32)
        nn.init.constant_(self.of_gate.bias, -5.0)

    def forward(self, x: Tensor) -> Tensor:
        shut = torch.sigmoid(self.of_gate(x))
        return self.out(torch.tanh(self.first(x)) * shut if self.gate else shut)


def test_a_gate_may_be_flat_and_a_layer_may_not() -> None:
    torch.manual_seed(0)
    assert said(observed(classify(Gated(gate=True))), "saturated") == []
    found = said(observed(classify(Gated(gate=False))), "saturated")
    assert [(f.where, f.cause) for f in found] == [("of_gate", "weights")]


def chain(step: int, *factors: float, output: float = 1.0) -> Snapshot:
    """A ledger of tanh layers with these activation factors, its last backward value as given."""
    sizes = [output]
    for factor in reversed(factors):
        sizes.append(sizes[-1] * factor)
    sizes.reverse()
    sites = [Site(f"act{i}", "tanh", 0, "activation") for i in range(len(sizes))]
    entries = [
        Entry(
            site,
            sites[i - 1] if i else None,
            Reading(64, 0.0, 1.0, 2.0),
            Reading(64, 0.0, size, 2 * size),
            activation=factors[i - 1] if i else 1.0,
        )
        for i, (site, size) in enumerate(zip(sites, sizes, strict=True))
    ]
    return Snapshot(step, Ledger(tuple(entries), step), 64)


@pytest.mark.parametrize(
    ("broken", "output", "expected"),
    [
        (3, 1.0, [("vanishing", "learning_rate", 40, "warning")]),
        (2, 1.0, []),  # two steps are no state yet
        (3, 0.05, [("vanishing", "learning_rate", 40, "note")]),  # it fits its data
    ],
)
def test_a_flow_that_breaks_in_training_is_dated(broken: int, output: float, expected: list[tuple]) -> None:
    sound = [chain(step, 0.9, 0.9, 0.9) for step in (*range(5), 20, 30)]
    sick = [chain(40 + step, 1e-2, 1e-2, 0.9, output=output) for step in range(broken)]
    steps = [StepReading(step, 1.0, 0.1) for step in range(40 + broken)]
    found = said(Recording(steps=steps, snapshots=[*sound, *sick]), "vanishing")
    assert [(f.kind, f.cause, f.step, f.severity) for f in found] == expected


class Aux(nn.Module):
    """A side head after more layers than the main one has, whose loss weighs little."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.main = nn.Sequential(nn.Linear(16, 32), nn.ReLU()), nn.Linear(32, 4)
        self.side = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        body = self.body(x)
        return self.main(body), self.side(body)


def test_the_flow_is_that_of_the_loss_that_dominates() -> None:
    def loss(outputs: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return F.cross_entropy(outputs[0], target) + 1e-5 * F.cross_entropy(outputs[1], target)

    ledger = ut.examine(Aux(), (torch.randn(64, 16), torch.arange(64) % 4), loss).ledger
    assert ledger.end_to_end > 1e4
    assert [e.site.label for e in trunk(ledger)] == ["body.0 (linear)", "body.1 (relu)"]
    assert flow(ledger) < 1


def test_what_follows_the_last_weights_is_no_part_of_the_flow() -> None:
    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp("tanh", depth=3, gain=1.7)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) * 1e-6

    assert examined(Tiny(), torch.randn(64, 16)) == []
