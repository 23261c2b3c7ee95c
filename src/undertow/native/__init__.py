"""Compiled kernels with a pure-torch path behind each."""

from undertow.native.kernels import available as available
from undertow.native.kernels import why_not as why_not
from undertow.native.statistics import Statistics as Statistics
from undertow.native.statistics import statistics as statistics
