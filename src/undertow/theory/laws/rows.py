"""What the rows of a real weight tell beyond its size: identical units, and orthogonality."""

from __future__ import annotations

import torch
from torch import Tensor

LOOKED_AT = 32
"""Rows compared with each other; 496 pairs tell orthogonal rows from independent ones to 6 %."""


def alike(weight: Tensor, bias: Tensor | None) -> frozenset[str]:
    """Says "units" where all rows of W (out, in, …) and all biases are the same, "inputs" where all columns are.

    Of random weights two numbers differ, and no more are looked at.
    """
    found = set()
    if weight.shape[0] > 1 and _same(weight) and (bias is None or _same(bias)):
        found.add("units")
    if weight.ndim > 1 and weight.shape[1] > 1 and _same(weight.transpose(0, 1)):
        found.add("inputs")
    return frozenset(found)


def unevenness(weight: Tensor) -> float:
    """Variance of the squared singular values of W (out, in) over their mean's square: 0 for orthogonal rows, out/in
    for independent ones (Marchenko, Pastur 1967), from the products of the first rows."""
    rows = weight.detach()[:LOOKED_AT].double()
    gram = rows @ rows.T
    sizes = gram.diagonal()
    mean = float(sizes.mean())
    if len(rows) < 2 or not mean:
        return 0.0
    products = float((gram.square().sum() - sizes.square().sum()) / (len(rows) * (len(rows) - 1)))
    lengths = float(sizes.square().mean()) - mean**2
    return ((weight.shape[0] - 1) * products + lengths) / mean**2


def _same(tensor: Tensor) -> bool:
    return bool(torch.equal(tensor[0], tensor[1])) and bool((tensor == tensor[:1]).all())
