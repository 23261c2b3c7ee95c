"""A gradient that leaves the range of its own past for good, and what only seems to."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest
import torch
from torch import nn

from undertow.probe.stepping.lookout import IN_A_ROW, LOOKS, Lookout

HELD = 40
"""Looks at what is usual, enough for a range."""


def alarms(sizes: Iterable[float], dtype: torch.dtype = torch.float32) -> list[int]:
    """The looks at gradients of such sizes with which something was to be seen."""
    parameter = nn.Parameter(torch.zeros(4, dtype=dtype))
    lookout, found = Lookout(parameter), []
    for index, size in enumerate(sizes):
        parameter.grad = torch.full((4,), size, dtype=dtype)
        if not lookout.look():
            assert lookout.sound is math.isfinite(size)
            found.append(index)
    return found


def noise(count: int, spread: float = 0.3, seed: int = 0) -> list[float]:
    draw = random.Random(seed)
    return [math.exp(draw.gauss(0, spread)) for _ in range(count)]


@pytest.mark.parametrize("factor", [30.0, 1 / 30, 0.0])
@pytest.mark.parametrize("unit", [1.0, 1e-30, 1e30])
def test_it_is_seen_whatever_the_unit(factor: float, unit: float) -> None:
    """A float32 holds neither the square of the smallest of these nor that of the largest."""
    sizes = noise(HELD) + [factor * size for size in noise(100, seed=1)]
    assert alarms(unit * size for size in sizes) == [HELD + IN_A_ROW - 1]


@pytest.mark.parametrize("spread", [0.01, 0.3, 1.0])
def test_noise_raises_no_alarm(spread: float) -> None:
    assert alarms(noise(20_000, spread)) == []


def test_nor_does_what_changes_slowly_or_little() -> None:
    assert alarms(math.exp(-0.02 * step) * size for step, size in enumerate(noise(1000))) == []
    assert alarms(1.0 if step % 400 < 200 else 1.9 for step in range(2000)) == []


def test_nor_does_one_bad_batch_or_one_that_counts_for_nothing() -> None:
    assert alarms(1000.0 * size if step % 50 == 49 else size for step, size in enumerate(noise(1000))) == []
    assert alarms(0.0 if step % 3 == 0 else size for step, size in enumerate(noise(1000))) == []
    assert alarms([1.0] * HELD + [0.0] * (IN_A_ROW - 1) + [1.0] * HELD) == []


def test_what_swings_to_both_sides_is_not_gone_for_good() -> None:
    assert alarms([*noise(HELD), *(100.0, 0.01) * (LOOKS // 4)]) == []


def test_a_gradient_that_was_never_there_has_no_range() -> None:
    assert alarms([0.0] * 100 + noise(20)) == []


def test_one_that_is_not_finite_is_told_at_once_and_forgotten_at_the_next() -> None:
    assert alarms([1.0, math.nan, *noise(HELD), math.inf, *noise(5), 0.0, 0.0, 0.0]) == [1, HELD + 2, HELD + 10]


def test_a_norm_that_no_format_holds_is_no_fault() -> None:
    assert alarms([1.7e308] * HELD, torch.float64) == []


def test_gradients_may_be_sparse_complex_or_missing() -> None:
    for gradient in (None, torch.eye(4).to_sparse(), torch.full((4, 4), 1j)):
        parameter = nn.Parameter(torch.zeros(4, 4, dtype=None if gradient is None else gradient.dtype))
        lookout = Lookout(parameter)
        parameter.grad = gradient
        assert all(lookout.look() for _ in range(2 * LOOKS))
    assert Lookout(None).look()
