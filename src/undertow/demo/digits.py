"""The UCI optical digits that ship with the package: real data for the demo, without a download."""

from __future__ import annotations

import gzip
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TRAINING = 1_400
"""Images to train on; the other 397 are held out."""


class Split(NamedTuple):
    """Images and labels to train on, and those kept for judging."""

    x: Tensor
    y: Tensor
    held_out_x: Tensor
    held_out_y: Tensor


def digits() -> tuple[Tensor, Tensor]:
    """x = (pixels/16 − mean) / (std + 10⁻³), pixel by pixel over all images, and the digit each shows.

    Returns
    -------
    x, y:
        float32 of shape (1797, 64), rows of 8×8 images; int64 of shape (1797,), 0 to 9.

    The 10⁻³ keeps the pixels that are blank in every image at 0.  Source: Alpaydin and Kaynak (1998), UCI Machine
    Learning Repository, doi:10.24432/C50P49, CC BY 4.0.
    """
    packed = files("undertow.demo").joinpath("data", "digits.csv.gz").read_bytes()
    rows = np.array([line.split(b",") for line in gzip.decompress(packed).splitlines()], dtype=np.int64)
    pixels = torch.from_numpy(rows[:, :-1]).double() / 16
    x = (pixels - pixels.mean(0)) / (pixels.std(0, correction=0) + 1e-3)
    return x.float(), torch.from_numpy(rows[:, -1].copy())


def split(seed: int = 0) -> Split:
    """1,400 images to train on and 397 held out, by a permutation that the seed decides."""
    x, y = digits()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    train, rest = order[:TRAINING], order[TRAINING:]
    return Split(x[train], y[train], x[rest], y[rest])
