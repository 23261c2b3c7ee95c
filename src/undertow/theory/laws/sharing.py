"""Values shared out by the weights of an attention: y_i = Σ_j a_ij v_j."""

from __future__ import annotations

import math

import torch

from undertow.theory.attending import Attends, shares
from undertow.theory.laws.labels import Labels
from undertow.theory.laws.maps import along, fitting, mean_pair, placed
from undertow.theory.signal import Delta, Layout, Pairs, Signal


def share_out(labels: Labels, shape: tuple[int, ...], a: Signal, v: Signal) -> Signal:
    """E[y_i²] = Σ_j E[a_ij²] E[v_j²] + (1 − Σ_j E[a_ij²]) E[v v′]: values are made by weights of their own.

    Two queries have Σ_j E[a_ij a_kj] of their values in common, so that tokens grow alike with depth: Dong,
    Cordonnier, Loukas (2021), arXiv:2103.03404; Noci et al. (2022), arXiv:2206.03126.
    """
    roles = (a.layout.roles, v.layout.roles)
    attends, rows, keys = _attends(labels, a), labels.free[0], labels.summed
    seeing = attends.seeing
    taken = labels.count(keys) * along(a, labels.one, rows)
    values = fitting(along(v, labels.other, keys), taken)
    token = labels.role(keys[0], roles)
    common = mean_pair(v, token)
    even = shares(attends.variance, seeing.seen).second
    square = taken * seeing.by_query(values) + (1 - even) * common
    together = _together(attends)
    samples, both = (v.pairs.positions, v.pairs.both) if token == "S" else (v.pairs.samples, v.pairs.both)
    once = float((1 / seeing.seen).mean())
    pairs = Pairs(
        once * samples + (1 - once) * both,
        together * float(values.mean()) + (1 - together) * common,
        seeing.common * samples + (1 - seeing.common) * both,
    )
    if token == "S":
        pairs = Pairs(pairs.positions, pairs.samples, pairs.both)
    layout = Layout(shape, labels.roles(roles))
    square = placed(square.clamp(min=0), labels.out, rows, layout.roles)
    mean = torch.zeros_like(square) + v.mean.mean()
    return Signal(layout, square, mean, pairs, spread=v.spread)


def hand_back(labels: Labels, delta: Delta, output: Signal, a: Signal, v: Signal) -> tuple[Delta, Delta]:
    """E[δa_ij²] = d E[δy_i²] E[v²], and E[δv_j²] = Σ_ik E[a_ij a_kj] E[δy_i δy_k]."""
    roles = (a.layout.roles, v.layout.roles)
    attends, rows, keys = _attends(labels, a), labels.free[0], labels.summed
    units = labels.count(labels.free[1])
    n, seeing = labels.count(keys), attends.seeing
    token = labels.role(keys[0], roles)
    size = along(Signal(output.layout, delta.square, delta.square), labels.out, rows)
    common = mean_pair(v, token)
    between = delta.pairs.samples if token == "S" else delta.pairs.positions
    values = fitting(along(v, labels.other, keys), size)
    mean_size = float(size.mean())

    to_a = placed(units * size * seeing.by_query(values), labels.one, rows, a.layout.roles)
    alike = max(-1.0, min(1.0, between / mean_size)) if mean_size else 0.0
    scores = Attends(labels.count(rows), n, alike, attends.reach, attends.variance)
    of_a = Delta(to_a, Pairs(0.0, units * mean_size * common, 0.0), delta.spread, attends=scores)

    ones = torch.ones_like(size[:1])
    to_v = seeing.by_key(n * along(a, labels.one, rows) * size)
    to_v = to_v + between * (seeing.by_key(ones).square() - seeing.by_key(ones / seeing.seen))
    queries, total = labels.count(rows), float(to_v.mean())
    pairs = _total(queries, n, mean_size, between, total)
    copies = labels.count(labels.other) / math.prod(v.layout.shape)
    square = placed(to_v.clamp(min=0) * copies, labels.other, keys, v.layout.roles)
    other = delta.pairs.positions if token == "S" else delta.pairs.samples
    crossed = (queries * other + queries * (queries - 1) * delta.pairs.both) / n**2
    back = Pairs(crossed, pairs, crossed).times(copies)
    if token == "S":
        back = Pairs(back.positions, back.samples, back.both)
    return of_a, Delta(square, back, delta.spread)


def _attends(labels: Labels, a: Signal) -> Attends:
    assert a.attends is not None
    return a.attends._replace(queries=labels.count(labels.free[0]), keys=labels.count(labels.summed))


def _together(attends: Attends) -> float:
    """Σ_j E[a_ij a_kj] of two queries, the mean over their scores' correlation."""
    common = attends.seeing.common
    raised = math.exp(min(attends.alike * attends.variance, 50.0))
    return raised * common / (1 + (raised - 1) * common)


def _total(queries: int, keys: int, size: float, between: float, handed: float) -> float:
    """E[δv_j δv_l] from the whole: Σ_jl E[δv_j δv_l] = Σ_ik E[δy_i δy_k], as each query's weights sum to 1."""
    if keys < 2:
        return 0.0
    return (queries * size + queries * (queries - 1) * between - keys * handed) / (keys * (keys - 1))
