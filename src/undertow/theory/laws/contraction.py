"""Products of two signals summed over an axis: scores of queries and keys, values shared out by attention."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from undertow.theory.attending import Attends
from undertow.theory.laws.base import Call, Law, law
from undertow.theory.laws.labels import Labels, labels_of
from undertow.theory.laws.maps import along, fitting, mean_pair, placed
from undertow.theory.laws.sharing import hand_back, share_out
from undertow.theory.signal import Delta, Layout, Pairs, Signal


@law("matmul", "bmm", "einsum")
@dataclass(frozen=True)
class Contraction(Law):
    """z_ij = Σ_d x_id y_dj over n summed places:  E[z²] = n E[x²] E[y²] + n (n − 1) E[x x′] E[y y′].

    Scores of attention, z_ij = q_i · k_j, remember what two keys and two queries have in common; the weights that a
    softmax makes of them share values out: `undertow.theory.laws.sharing`.  Backward,
    E[δx_i²] = Σ_jl E[δz_ij δz_il] E[y_j y_l], since x and y are made by weights of their own.
    """

    labels: Labels = field(kw_only=True)
    effect = "other"

    @classmethod
    def read(cls, call: Call) -> Law | None:
        labels = labels_of(call)
        return None if labels is None else cls(call.shape, labels=labels)

    def forward(self, *inputs: Signal) -> Signal:
        labels, (x, y) = self._in_order(inputs)
        roles = (x.layout.roles, y.layout.roles)
        if x.attends is not None:
            return share_out(labels, self.shape, x, y)
        n, summed = labels.count(labels.summed), labels.role(labels.summed[0], roles)
        rows, columns = labels.free
        by_row, other = along(x, labels.one, rows), along(y, labels.other, "")
        square = n * by_row * fitting(other, by_row) + n * (n - 1) * mean_pair(x, summed) * mean_pair(y, summed)
        keys = mean_pair(y, labels.role(columns[0], roles)) if columns else 0.0
        pairs = Pairs(n * x.pairs.samples * y.pairs.samples, n * float(by_row.mean()) * keys, 0.0)
        layout = Layout(self.shape, labels.roles(roles))
        square = placed(square.clamp(min=0), labels.out, rows, layout.roles)
        attends = None
        if rows and columns and "F" in summed and "F" not in labels.role(columns[0], roles):
            same = mean_pair(x, labels.role(rows[0], roles)) / float(by_row.mean()) if float(by_row.mean()) else 0.0
            attends = Attends(labels.count(rows), labels.count(columns), max(-1.0, min(1.0, same)))
        spread = x.spread + y.spread
        return Signal(layout, square, torch.zeros_like(square), pairs, spread=spread, attends=attends)

    def backward(self, delta: Delta, output: Signal, *inputs: Signal) -> tuple[Delta | None, ...]:
        labels, (x, y) = self._in_order(inputs)
        if x.attends is not None:
            handed = hand_back(labels, delta, output, x, y)
        else:
            handed = self._of_scores(labels, delta, output, x, y)
        return handed[::-1] if labels is not self.labels else handed

    def _in_order(self, inputs: tuple[Signal, ...]) -> tuple[Labels, tuple[Signal, Signal]]:
        """The weights of an attention come first."""
        x, y = inputs
        if y.attends is not None and x.attends is None:
            return self.labels.swapped, (y, x)
        return self.labels, (x, y)

    @staticmethod
    def _of_scores(labels: Labels, delta: Delta, output: Signal, x: Signal, y: Signal) -> tuple[Delta, Delta]:
        roles = (x.layout.roles, y.layout.roles)
        rows, columns = labels.free
        n_rows, n_columns = labels.count(rows), labels.count(columns)
        attends = delta.attends or Attends(n_rows, n_columns)
        seeing = attends.seeing
        size = along(replace(output, square=delta.square), labels.out, rows)  # mean over keys, per query
        uneven = size / size.mean() if float(size.mean()) else size
        x_rows, y_columns = along(x, labels.one, rows), along(y, labels.other, columns)
        common = mean_pair(y, labels.role(columns[0], roles)) if columns else 0.0
        to_x = n_columns * (
            size * seeing.by_query(fitting(y_columns, size)) + (n_columns - 1) * delta.pairs.positions * uneven * common
        )
        total = n_columns * size
        to_y = seeing.by_key(total * fitting(x_rows, total))
        if attends.alike and rows:
            each = (total * seeing.seen).sqrt()
            queries = mean_pair(x, labels.role(rows[0], roles))
            to_y = to_y + attends.alike * queries * (
                seeing.by_key(each).square() - seeing.by_key(each.square() / seeing.seen)
            )
        overlap = seeing.common / float((1 / seeing.seen).mean())
        keys = -float(to_y.mean()) / max(n_columns - 1, 1) if delta.attends else 0.0
        spread = delta.spread
        return (
            _handed(to_x, labels, labels.one, rows, x, spread, attends.alike * overlap * float(to_x.mean())),
            _handed(to_y, labels, labels.other, columns, y, spread, keys),
        )


def _handed(size: Tensor, labels: Labels, letters: str, axis: str, to: Signal, spread: float, pair: float) -> Delta:
    copies = labels.count(letters) / math.prod(to.layout.shape)
    square = placed(size.clamp(min=0) * copies, letters, axis, to.layout.roles)
    return Delta(square, Pairs(0.0, pair * copies, 0.0), spread)
