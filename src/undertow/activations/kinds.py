"""What goes in comes out: tensors, numpy arrays and Python numbers through a function of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from undertow.foundation import InputError

Numeric = TypeVar("Numeric", Tensor, np.ndarray, float)
"""A tensor or numpy array of any float dtype and shape, or a Python number."""
EXPECTED = "a floating point tensor, a numpy float array or a Python number"


def through(function: Callable[[Tensor], Tensor], x: Numeric) -> Numeric:
    """function(x) in the kind of x: tensor, numpy array or scalar (same dtype), Python float (computed in float64).

    Raises
    ------
    InputError
        For integer, bool and complex numbers, and for anything that is none of the three kinds.
    """
    if isinstance(x, Tensor):
        return function(floating(x))
    if isinstance(x, (np.ndarray, np.generic)):
        return _through_numpy(function, x)
    if isinstance(x, (int, float)) and not isinstance(x, bool):
        return float(function(torch.tensor(x, dtype=torch.float64)))  # pyright: ignore[reportReturnType]
    raise InputError(f"{type(x).__name__}", EXPECTED, "torch.tensor(x, dtype=torch.float32)")


def floating(x: Tensor) -> Tensor:
    """x itself, or an error where it holds no real floating point numbers."""
    if not x.is_floating_point():
        dtype = str(x.dtype).removeprefix("torch.")
        raise InputError(f"a tensor of {dtype}", "a floating point one", "x.real" if x.is_complex() else "x.float()")
    return x


def _through_numpy(function: Callable[[Tensor], Tensor], x: np.ndarray | np.generic) -> np.ndarray:
    if x.dtype.kind != "f" or x.dtype.itemsize > 8:
        raise InputError(f"a numpy array of {x.dtype}", "float16, float32 or float64", "x.astype('float64')")
    # a copy in native byte order: torch takes neither negative strides nor read-only memory
    own = np.array(x, dtype=x.dtype.newbyteorder("="), order="C", copy=True)
    y = function(torch.from_numpy(own)).detach().cpu().numpy()
    return y if isinstance(x, np.ndarray) else y[()]


def widened(x: Tensor) -> Tensor:
    """x in at least float32, so that float16 and bfloat16 are rounded once, at the end."""
    return x.float() if x.dtype.itemsize < 4 else x


def rounded_once(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """function(x) computed in at least float32, given back in the dtype of x."""
    return function(widened(x)).to(x.dtype)
