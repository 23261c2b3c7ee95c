"""How a softmax shares out its attention, held against draws and against masks written out."""

from __future__ import annotations

import math

import pytest
import torch

from undertow.theory.attending import Causal, Everywhere, Masked, narrower, reach_of, shares


@pytest.mark.parametrize("variance", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_shares_of_normal_scores_are_those_of_draws(variance: float, n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    a = (torch.randn(20_000, n, generator=generator).double() * math.sqrt(variance)).softmax(-1)
    whole = a.square().sum(-1)
    of = shares(variance, torch.tensor([float(n)], dtype=torch.float64))
    fluctuation = (a.square() * (1 - 2 * a + whole.unsqueeze(1))).sum(-1)
    assert of.second.item() == pytest.approx(whole.mean().item(), rel=0.015)
    assert of.fluctuation.item() == pytest.approx(fluctuation.mean().item(), rel=0.02, abs=1e-9)


def test_a_causal_mask_is_recognised_however_it_is_written() -> None:
    seen = torch.ones(6, 6).tril().bool()
    added = torch.zeros(6, 6).masked_fill(~seen, torch.finfo(torch.float32).min)
    assert reach_of(seen, 6, 6) == Causal(6)
    assert reach_of(added.expand(2, 1, 6, 6), 6, 6) == Causal(6)
    padded = seen & torch.tensor([True] * 4 + [False] * 2)
    assert isinstance(reach_of(padded, 6, 6), Masked)


def test_the_causal_reach_does_what_its_matrix_does() -> None:
    even = torch.ones(9, 9, dtype=torch.float64).tril()
    even = even / even.sum(1, keepdim=True)
    matrix, causal = Masked(even, 1 / even.square().sum(1)), Causal(9)
    x = torch.rand(3, 9, dtype=torch.float64)
    torch.testing.assert_close(causal.seen, matrix.seen)
    torch.testing.assert_close(causal.by_query(x), matrix.by_query(x))
    torch.testing.assert_close(causal.by_key(x), matrix.by_key(x))
    assert causal.common == pytest.approx(matrix.common)


def test_everywhere_is_the_mask_that_hides_nothing() -> None:
    full, matrix = Everywhere(4, 6), reach_of(torch.ones(4, 6).bool(), 4, 6)
    x = torch.rand(2, 6, dtype=torch.float64)
    torch.testing.assert_close(full.by_query(x).expand(-1, 4), matrix.by_query(x))
    assert full.common == pytest.approx(matrix.common)
    assert float(matrix.seen.mean()) == pytest.approx(6)


def test_of_two_masks_the_narrower_counts() -> None:
    assert narrower(None, Causal(5)) == Causal(5)
    assert narrower(Everywhere(5, 5), Causal(5)) == Causal(5)
