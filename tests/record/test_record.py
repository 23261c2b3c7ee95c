"""Names of sites, look-ups in a ledger, means, and what is derived from a reading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import pytest

from undertow.foundation import EFFECTS, Effect, UnknownNameError
from undertow.record import Entry, Ledger, NotObserved, Reading, Recording, Site, Snapshot, StepReading


def reading(rms: float = 1.0, **more: float) -> Reading:
    return Reading(**({"count": 10, "mean": 0.0, "rms": rms, "max": rms} | more))  # type: ignore[arg-type]


def chain(*steps: tuple[Effect, Mapping[Any, float]], last: float = 1.0) -> Ledger:
    """A first linear site, then one site a step; backward values as the factors say."""
    sites = [Site("in", "linear", 0, "weights")] + [
        Site(f"m{i}", "op", 0, effect) for i, (effect, _) in enumerate(steps)
    ]
    size, entries = last, []
    for index in range(len(steps), 0, -1):
        factors = steps[index - 1][1]
        entries.append(Entry(sites[index], sites[index - 1], reading(), reading(size), **cast(Any, factors)))
        size *= math.prod(factors.values())
    return Ledger((Entry(sites[0], None, reading(), reading(size)), *reversed(entries)))


def step(slope: float) -> tuple[Effect, Mapping[Any, float]]:
    return "activation", {"activation": slope}


@pytest.mark.parametrize(
    ("site", "name", "short", "label"),
    [
        (Site("blocks.3.up", "linear", 0, "weights"), "blocks.3.up#0", "blocks.3.up", "blocks.3.up"),
        (Site("act", "relu", 2, "activation"), "act#2", "act#2", "act#2"),
        (Site("net.0", "linear", 0, "weights"), "net.0#0", "net.0", "net.0 (linear)"),
        (Site("7", "relu", 1, "activation"), "7#1", "7#1", "7#1 (relu)"),
        (Site("", "linear", 0, "weights"), "forward#0", "forward", "forward"),
        (Site("", "relu", 2, "activation", True, "net.py:12"), "forward:relu#2", "forward:relu#2", "forward:relu#2"),
        (Site("blocks.3", "add", 0, "branching", True), "blocks.3:add#0", "blocks.3:add", "blocks.3:add"),
    ],
)
def test_a_site_has_a_name_a_short_one_and_a_label(site: Site, name: str, short: str, label: str) -> None:
    assert (site.name, site.short, site.label, str(site)) == (name, short, label, name)


def test_the_factor_is_the_product_of_all_effects() -> None:
    factors = dict(zip(EFFECTS, (0.25, 2.0, 0.5, 1.5, 3.0), strict=True))
    ledger = chain(("activation", factors))
    assert ledger["m0"].factor == pytest.approx(math.prod(factors.values()))
    assert ledger.product == pytest.approx(ledger.end_to_end)
    assert ledger["in"].factor == 1.0


@pytest.mark.parametrize("last", [1.0, 1e-30, 1e30])
def test_product_totals_and_end_to_end_agree_whatever_the_scale(last: float) -> None:
    ledger = chain(
        ("activation", {"activation": 0.25}),
        ("weights", {"weights": 3.0, "branching": 1.5}),
        ("other", {"other": 0.1}),
        last=last,
    )
    assert ledger.end_to_end == pytest.approx(0.25 * 3.0 * 1.5 * 0.1)
    assert ledger.product == pytest.approx(ledger.end_to_end)
    assert math.prod(ledger.total(e) for e in EFFECTS) == pytest.approx(ledger.product)


def test_the_mean_is_geometric_over_the_operations_of_that_kind() -> None:
    ledger = chain(
        ("activation", {"activation": 0.1}),
        ("weights", {"weights": 2.0, "branching": 4.0}),
        ("activation", {"activation": 0.4}),
    )
    assert ledger.mean("activation") == pytest.approx(0.2)
    assert ledger.mean("weights") == pytest.approx(2.0)
    assert ledger.mean("branching") == pytest.approx(4.0)
    assert ledger.mean("normalisation") == 1.0
    assert (ledger.count("activation"), ledger.count("weights")) == (2, 2)


@pytest.mark.parametrize(("factors", "mean"), [((0.0, 0.5), 0.0), ((0.5, math.nan), 0.5), ((math.nan, math.nan), 1.0)])
def test_a_gradient_that_was_cut_off_has_a_mean_all_the_same(factors: tuple[float, float], mean: float) -> None:
    ledger = chain(*[step(f) for f in factors])
    assert ledger.mean("activation") == mean


def test_a_long_chain_of_tiny_factors_does_not_underflow_in_its_mean() -> None:
    ledger = chain(*[step(1e-20)] * 40)
    assert ledger.mean("activation") == pytest.approx(1e-20)


@pytest.mark.parametrize("ledger", [Ledger(()), chain(last=0.0)], ids=["empty", "no gradient"])
def test_without_a_gradient_at_the_end_there_is_no_flow(ledger: Ledger) -> None:
    assert math.isnan(ledger.end_to_end)


def test_a_ledger_is_looked_up_by_name_and_counts_its_sites() -> None:
    ledger = chain(("activation", {}), ("weights", {}))
    assert ledger["m1#0"] is ledger["m1"] is list(ledger)[2]
    assert len(ledger) == 3


@pytest.mark.parametrize(("typed", "offered"), [("m", "m0"), ("act", "list(ledger)"), ("m1#1", "m1")])
def test_an_unknown_site_is_told_which_are_near(typed: str, offered: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        chain(("activation", {}), ("weights", {}))[typed]
    assert (caught.value.got, caught.value.expected) == (f"the site {typed!r}", "one of 3 sites")
    assert offered in caught.value.instead


def test_only_the_main_path_multiplies() -> None:
    ledger = chain(("activation", {"activation": 0.5}))
    aside = Entry(
        Site("side", "linear", 0, "weights"), ledger["in"].site, reading(), reading(), weights=9.0, on_path=False
    )
    both = Ledger((*ledger.entries, aside))
    assert both.product == 0.5
    assert both.mean("weights") == 1.0
    assert "side" not in [e.site.module for e in both.path]
    assert both["side"].factor == 9.0


def test_a_reading_counts_its_norm_over_the_finite_values() -> None:
    r = reading(3.0, count=10, mean=1.0, nans=2, infs=4)
    assert (r.nonfinite, r.norm, r.std) == (6, pytest.approx(6.0), pytest.approx(8**0.5))
    assert reading(1.0, mean=1.0 + 1e-9).std == 0.0  # rounding must not give the root of a negative number


def test_a_recording_knows_its_last_step_and_its_last_half() -> None:
    ledger = chain(("activation", {}))
    steps = [StepReading(i, 1.0, 0.1) for i in range(11)]
    recording = Recording(steps, [Snapshot(i, ledger, 8) for i in (0, 1, 5, 9)])
    assert recording.last_step == 10
    assert [s.step for s in recording.recent] == [5, 9]
    early = Recording(steps, [Snapshot(i, ledger, 8) for i in (0, 1)])
    assert [s.step for s in early.recent] == [1]
    assert (Recording().last_step, Recording().recent) == (0, [])
    assert str(NotObserved("lstm", "fused")) == "lstm: fused"
