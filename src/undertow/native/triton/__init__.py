"""Triton kernels for GPUs, written from any elementwise function of torch operations."""

from undertow.native.triton.launch import DTYPES as DTYPES
from undertow.native.triton.launch import launch as launch
from undertow.native.triton.launch import takes as takes
from undertow.native.triton.reduce import SUMS as SUMS
from undertow.native.triton.reduce import add_sums as add_sums
from undertow.native.triton.trace import Unsupported as Unsupported
from undertow.native.triton.write import generate as generate
