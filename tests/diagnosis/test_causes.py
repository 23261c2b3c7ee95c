"""What is folded into what: by kind, step, place, and what the ledger says without the suspected layers."""

from __future__ import annotations

from typing import Any

import pytest

from undertow.diagnosis.causes import root_causes
from undertow.foundation import Cause, Evidence, Finding, Kind
from undertow.record import Entry, Ledger, Reading, Recording, Site, Snapshot


def entry(place: int, backward: float, activation: float = 1.0) -> Entry:
    before = site(place - 1) if place else None
    value, gradient = Reading(64, 0.0, 1.0, 2.0), Reading(64, 0.0, backward, 2 * backward)
    return Entry(site(place), before, value, gradient, activation=activation)


def site(place: int) -> Site:
    return Site(f"act{place}", "tanh", 0, "activation")


def recording(*factors: float) -> Recording:
    """A chain of activations act0, act1, … with the factors that they multiply the backward value with."""
    sizes = [1.0]
    for factor in reversed(factors[1:]):
        sizes.append(sizes[-1] * factor)
    entries = [entry(i, size, factors[i]) for i, size in enumerate(reversed(sizes))]
    return Recording(snapshots=[Snapshot(0, Ledger(tuple(entries)), 64)])


def finding(kind: Kind, where: str = "", step: int = 0, cause: Cause = "weights", **more: Any) -> Finding:
    return Finding(kind, "warning", cause, where, step, **more)


def kept(found: list[Finding], *factors: float) -> list[tuple[str, str]]:
    return [(f.kind, f.where) for f in root_causes(found, recording(*factors or (1.0,) * 6))]


def test_what_began_later_explains_nothing() -> None:
    assert kept([finding("exploding"), finding("nonfinite", step=4)]) == [("exploding", "")]
    assert kept([finding("exploding", step=4), finding("dead")], 1.0, 1e3) == [("dead", ""), ("exploding", "")]


@pytest.mark.parametrize("look_alike", ["loss_mismatch", "symmetric"])
@pytest.mark.parametrize("symptom", ["vanishing", "dead", "too_small_lr", "saturated"])
def test_without_a_gradient_to_judge_the_flow_is_not_to_blame(look_alike: Kind, symptom: Kind) -> None:
    assert kept([finding(symptom, "act2"), finding(look_alike)]) == [(look_alike, "")]


def test_a_loss_that_does_not_fit_explains_no_flow_that_layers_make() -> None:
    found = [finding("vanishing", "act0"), finding("loss_mismatch", "act5")]
    assert kept(found, *[0.1] * 6) == [("loss_mismatch", "act5"), ("vanishing", "act0")]


def test_a_fault_of_the_backward_pass_shows_in_the_layers_before_it() -> None:
    cut, early, late = (
        finding(k, w) for k, w in (("disconnected", "act2"), ("vanishing", "act0"), ("vanishing", "act4"))
    )
    assert kept([cut, early]) == [("disconnected", "act2")]
    assert kept([cut, late]) == [("disconnected", "act2"), ("vanishing", "act4")]


def test_a_saturated_layer_explains_the_flow_that_is_sound_without_it() -> None:
    found = [finding("vanishing", "act0"), finding("saturated", "act3")]
    assert kept(found, 1.0, 0.9, 0.9, 1e-5, 0.9, 0.9) == [("saturated", "act3")]
    assert len(kept(found, 1.0, 1e-2, 1e-2, 0.1, 1e-2, 1e-2)) == 2


def test_all_layers_of_a_finding_are_taken_out() -> None:
    several = finding("saturated", "act1", sites=("act1", "act2", "act3"))
    assert kept([finding("vanishing", "act0"), several], 1.0, 1e-2, 1e-2, 1e-2, 1.0, 1.0) == [("saturated", "act1")]


def test_nothing_passes_a_dead_layer_so_it_explains_whatever_the_flow_is_before_it() -> None:
    assert kept([finding("vanishing", "act0"), finding("dead", "act3")], 1.0, 1.0, 1.0, 0.0, 1.0, 1.0) == [
        ("dead", "act3")
    ]


def test_growth_ends_in_nan_but_not_every_nan_is_the_end_of_growth() -> None:
    grew = [finding("nonfinite", "act1", cause="weights"), finding("exploding", "act0")]
    assert kept(grew) == [("exploding", "act0")]
    born = [finding("nonfinite", "act1", cause="graph"), finding("exploding", "act0")]
    assert kept(born) == [("nonfinite", "act1")]
    assert kept([finding("nonfinite", "act1", step=3, cause="graph"), finding("exploding", "act0")]) == [
        ("exploding", "act0"),
        ("nonfinite", "act1"),
    ]


def test_one_fault_that_two_rules_see_is_one() -> None:
    depth, time = finding("vanishing", "act0"), finding("vanishing", "act0", rule="vanishing_in_time")
    assert len(kept([depth, time])) == 1
    assert len(kept([depth, finding("vanishing", "act3", cause="activation")])) == 2


def test_units_that_long_steps_have_killed_are_the_finding() -> None:
    killed = finding("dead", "act1", cause="learning_rate", step=2)
    assert kept([finding("unstable_lr", step=2, cause="learning_rate"), killed]) == [("dead", "act1")]


def test_the_evidence_says_how_sure_a_finding_is() -> None:
    def sure(value: float, *, bound: float, counter: tuple[Evidence, ...] = ()) -> str:
        return finding(
            "exploding", evidence=(Evidence("flow", value, None, bound),), counter_evidence=counter
        ).confidence

    assert [sure(v, bound=100.0) for v in (150.0, 300.0, 5e3, float("inf"))] == [
        "possible",
        "likely",
        "certain",
        "certain",
    ]
    assert [sure(v, bound=0.7) for v in (0.75, 0.9, 0.99, 1.0)] == ["possible", "likely", "certain", "certain"]
    assert sure(1.0, bound=0.0) == "certain"
    against = (Evidence("fitted", 1.0, None, 0.0),)
    assert sure(5e3, bound=100.0, counter=against) == "possible"
