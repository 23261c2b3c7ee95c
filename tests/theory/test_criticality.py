"""Where variance and correlation settle: against the reference, and in wide random layers."""

import math

import pytest
import torch
from reference import CRITICAL

from undertow.foundation import InputError, language
from undertow.theory import correlation_map, critical_point, criticality, half_stable, variance_map
from undertow.theory.criticality import torch_default


@pytest.mark.parametrize("row", CRITICAL["depth_scales_of_tanh"], ids=lambda row: f"{row['sigma_w2']:.3g}")
def test_reference(row):
    found = criticality("tanh", row["sigma_w2"], row["sigma_b2"])
    assert found.phase == row["phase"]
    assert found.q == pytest.approx(row["q_star"], rel=1e-12)
    assert found.chi_parallel == pytest.approx(row["chi_parallel"], rel=1e-12)
    assert found.chi_perp == pytest.approx(row["chi_perp"], rel=1e-12)
    assert found.c == pytest.approx(row["c_star"], rel=1e-9)
    assert found.xi_q == pytest.approx(row["xi_q"], rel=1e-11)
    assert found.xi_grad == pytest.approx(float(row["xi_grad"]), rel=1e-10)
    assert found.xi_c == pytest.approx(float(row["xi_c"]), rel=1e-8)
    assert found.trainable_depth == 6 * found.xi_grad <= 6 * found.xi_c * (1 + 1e-12)
    assert "settles" in found.verdict


@pytest.mark.parametrize(
    ("name", "fan_in", "factor"),
    [("relu", 64, 0.408), ("silu", 64, 0.289), ("tanh", 64, 0.573), ("sigmoid", 64, 0.141)],
)
def test_what_torch_does_by_default(name, fan_in, factor):
    assert torch_default(name, fan_in).per_layer == pytest.approx(factor, abs=6e-4)
    layer = torch.nn.Linear(4096, 64)
    assert layer.weight.var().item() * 4096 == pytest.approx(1 / 3, rel=0.02)


@pytest.mark.parametrize(("name", "chi"), [("gelu", 1.144), ("silu", 1.173), ("mish", 1.076)])
def test_the_variance_preserving_gain_repels_and_says_so(name, chi):
    from undertow.theory import gain

    found = criticality(name, gain(name) ** 2)
    assert found.q == pytest.approx(1, abs=1e-9)
    assert found.chi_parallel == pytest.approx(chi, abs=1e-3)
    assert not found.holds
    assert f"The variance 1 repels (χ∥ = {chi})" in found.verdict
    with language("ko"):
        assert "밀어냅니다" in found.verdict


def test_the_half_stable_point_is_found_as_a_fixed_point_that_is_only_touched():
    for name in ("gelu", "mish", "silu"):
        point = half_stable(name)
        found = criticality(name, point.sigma_w2, point.sigma_b2, start=point.q)
        assert found.q == pytest.approx(point.q, rel=1e-6)
        assert found.phase == "critical"
        assert found.holds


def test_fixed_points_part_what_lives_from_what_dies():
    """GELU with the variance-preserving gain: from below 1 the variance dies, from above it grows without end."""
    sigma_w2 = critical_point("gelu", q=1.0).sigma_w2
    repelling = criticality("gelu", sigma_w2, 0.0)
    assert [p.attracts for p in repelling.fixed_points] == [True, False]
    high = repelling.fixed_points[1].q
    below, above = (criticality("gelu", sigma_w2, 0.0, start=high * s) for s in (0.9, 1.1))
    assert (below.q, above.q) == (0.0, math.inf)
    assert "dies out" in below.verdict
    assert "without end" in above.verdict


def test_a_homogeneous_function_keeps_any_variance():
    found = criticality("relu", 2.0, start=7.0)
    assert (found.q, found.phase, found.c) == (7.0, "critical", 1.0)
    assert "nothing draws it back" in found.verdict


def test_maps_against_a_wide_random_layer():
    generator = torch.Generator().manual_seed(0)
    n, q, c, sigma_w2, sigma_b2 = 3000, 1.4, 0.6, 1.8, 0.1
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    shared, own = draw(n, 40), draw(2, n, 40)
    u, v = (math.sqrt(q) * (math.sqrt(c) * shared + math.sqrt(1 - c) * o) for o in own)
    weight, bias = draw(n, n) * math.sqrt(sigma_w2 / n), draw(n, 1) * math.sqrt(sigma_b2)
    a, b = weight @ torch.tanh(u) + bias, weight @ torch.tanh(v) + bias
    assert (a * a).mean().item() == pytest.approx(variance_map("tanh", q, sigma_w2, sigma_b2), rel=0.05)
    measured = (a * b).mean() / (a.square().mean() * b.square().mean()).sqrt()
    assert measured.item() == pytest.approx(correlation_map("tanh", c, q, sigma_w2, sigma_b2), abs=0.02)


def test_a_map_that_falls_settles_where_its_iteration_does():
    q = 1.0
    for _ in range(40):
        q = variance_map(torch.cos, q, 1.5, 0.1)
    assert criticality(torch.cos, 1.5, 0.1).q == pytest.approx(q, rel=1e-9)


@pytest.mark.parametrize("arguments", [(0.0,), (1.0, -0.1), (1.0, 0.0, 0.0), (math.nan,)])
def test_bad_input(arguments):
    with pytest.raises(InputError, match="finite numbers"):
        criticality("tanh", *arguments)
