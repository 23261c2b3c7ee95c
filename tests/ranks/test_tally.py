"""The messages of several ranks, added up by hand, give the reading of the undivided tensor."""

from __future__ import annotations

import math
from dataclasses import astuple

import pytest
import torch
from torch import Tensor

from undertow.native import statistics
from undertow.probe.sharing.sharding import Layout
from undertow.probe.sharing.tally import SnapshotMessage, agreed, step_message, with_ranks
from undertow.record import Entry, Ledger, ParameterReading, Reading, Site, Snapshot, StepReading

INF = math.inf


def reading(tensor: Tensor) -> Reading:
    return Reading(*statistics(tensor))


def layouts(ranks: int, **pieces: int) -> list[Layout]:
    return [Layout(tuple(range(ranks)), rank, pieces) for rank in range(ranks)]


def parameter(weight: Tensor, gradient: Tensor | None) -> ParameterReading:
    return ParameterReading(reading(weight), None if gradient is None else reading(gradient), reading(weight / 8))


def snapshot(samples: int = 4, entries: tuple[Entry, ...] = (), **parameters: ParameterReading) -> Snapshot:
    return Snapshot(3, Ledger(entries), samples, parameters=parameters)


def entry(name: str, forward: Tensor, backward: Tensor) -> Entry:
    return Entry(Site(name, "linear", 0, "weights"), None, reading(forward), reading(backward))


def exchanged(
    layouts: list[Layout], snapshots: list[Snapshot | None], following: list[int], sites: tuple[str, ...] = ()
) -> tuple[list[Snapshot | None], tuple[int, bool]]:
    messages = [SnapshotMessage(layout, sites) for layout in layouts]
    packed = [m.pack(3, s, f) for m, s, f in zip(messages, snapshots, following, strict=True)]
    total = torch.stack([p[0] for p in packed]).sum(0)
    top = torch.stack([p[1] for p in packed]).amax(0)
    return [m.unpack(s, total, top) if s else None for m, s in zip(messages, snapshots, strict=True)], agreed(top)


def equal(a: Reading | None, b: Reading | None) -> bool:
    if a is None or b is None:
        return a is b
    return astuple(a) == pytest.approx(astuple(b), rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("bad", [(), (math.nan,), (INF, -INF, math.nan), (0.0, 1e-310)])
def test_uneven_and_empty_shards_add_up_to_the_whole(bad: tuple[float, ...]) -> None:
    whole = torch.cat([torch.randn(11, dtype=torch.float64), torch.tensor(bad, dtype=torch.float64)])
    shards = [whole[:8], whole[8:], whole[:0]]
    given = [snapshot(w=parameter(s, s * 3)) if len(s) else snapshot() for s in shards]
    found, _ = exchanged(layouts(3, w=3), list(given), [9, 9, 9])
    for rank, result in enumerate(found):
        assert result is not None
        assert equal(result.parameters["w"].weight, reading(whole))
        assert equal(result.parameters["w"].gradient, reading(whole * 3))
        assert equal(result.parameters["w"].update, reading(whole / 8))
        assert (result.stage.rank, result.stage.ranks) == (rank, 3)


def test_nothing_but_nan_stays_a_reading_of_nan() -> None:
    nans = torch.full((4,), math.nan)
    found, _ = exchanged(layouts(2, w=2), [snapshot(w=parameter(torch.ones(4), nans))] * 2, [9, 9])
    assert found[0] is not None
    gradient = found[0].parameters["w"].gradient
    assert gradient is not None
    assert (gradient.count, gradient.nans) == (8, 8)
    assert math.isnan(gradient.rms)


def test_a_value_that_lies_on_several_ranks_counts_once() -> None:
    """HSDP: two pieces on four ranks."""
    whole = torch.randn(10, dtype=torch.float64)
    given = [snapshot(w=parameter(whole[:7], None)), snapshot(w=parameter(whole[7:], None))] * 2
    found, _ = exchanged(layouts(4, w=2), list(given), [9] * 4)
    for result in found:
        assert result is not None
        assert equal(result.parameters["w"].weight, reading(whole))
        assert result.parameters["w"].gradient is None


def test_copies_are_left_alone_and_compared() -> None:
    same, other = torch.ones(3), torch.full((3,), 2.0)
    given = [snapshot(a=parameter(same, same), b=parameter(w, w)) for w in (same, same, other)]
    found, _ = exchanged(layouts(3, a=1, b=1), list(given), [9] * 3)
    assert found[2] is not None
    assert found[2].parameters == given[2].parameters
    assert found[2].ranks is not None
    weights = found[2].ranks.weights
    assert weights["a"].ratio == 1
    assert (weights["b"].low, weights["b"].high, weights["b"].ratio) == (1, 2, 2)


def test_sites_that_all_ranks_know_show_the_rank_that_differs() -> None:
    quiet, loud = torch.full((2, 5), 0.5), torch.full((6, 5), 50.0)
    given = [snapshot(2, (entry("a", quiet, quiet),)), snapshot(6, (entry("a", quiet, loud), entry("c", loud, loud)))]
    found, (_, same) = exchanged(layouts(2), list(given), [9, 9], ("a#0", "b#0"))
    assert found[0] is not None
    ranks = found[0].ranks
    assert ranks is not None
    assert ranks.samples == (2, 6)
    assert list(ranks.backward) == ["a#0"]  # b was seen by none, c is not agreed on
    assert ranks.forward["a#0"].ratio == 1
    assert (ranks.backward["a#0"].low, ranks.backward["a#0"].high) == (0.5, 50)
    assert ranks.backward["a#0"].rms == pytest.approx(torch.cat([quiet, loud]).square().mean().sqrt().item())
    assert not same


def test_the_latest_wish_is_everyones_and_a_rank_without_a_snapshot_takes_part() -> None:
    found, (following, same) = exchanged(layouts(3), [snapshot(), None, snapshot()], [7, 31, 12])
    assert following == 31
    assert same  # none of them has a site
    assert found[1] is None
    assert found[0] is not None
    assert found[0].ranks is not None
    assert found[0].ranks.samples == (4, 0, 4)


@pytest.mark.parametrize("clipped", [None, 8.0])
def test_norms_of_shards_become_one(clipped: float | None) -> None:
    given = [StepReading(0, 3.0, 0.1, unclipped_norm=clipped), StepReading(0, 4.0, 0.1)]
    sharded = layouts(2, w=2)
    total = sum(step_message(r, lay, 1.0, r.gradient_norm) for r, lay in zip(given, sharded, strict=True))
    assert isinstance(total, Tensor)
    result = with_ranks(given[1], sharded[1], total)
    assert result.gradient_norm == 5
    assert result.unclipped_norm == (None if clipped is None else math.hypot(8, 4))
    assert result.local_norms == (3, 4)


def test_a_reduced_norm_stays_and_the_local_ones_stand_beside_it() -> None:
    whole = layouts(2, w=1)
    total = sum(
        step_message(StepReading(0, 2.5, 0.1), lay, 0.0, own) for lay, own in zip(whole, (1.0, 4.0), strict=True)
    )
    assert isinstance(total, Tensor)
    result = with_ranks(StepReading(0, 2.5, 0.1), whole[0], total)
    assert (result.gradient_norm, result.local_norms) == (2.5, (1.0, 4.0))
