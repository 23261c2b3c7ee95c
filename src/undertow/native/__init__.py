"""Compiled kernels with a pure-torch path behind each."""

from undertow.native.kernels import available as available
from undertow.native.kernels import why_not as why_not
from undertow.native.panel import Panel as Panel
from undertow.native.panel import Readings as Readings
from undertow.native.slopes import SlopeStatistics as SlopeStatistics
from undertow.native.slopes import slope_statistics as slope_statistics
from undertow.native.slopes import statistics_of_slopes as statistics_of_slopes
from undertow.native.statistics import Statistics as Statistics
from undertow.native.statistics import statistics as statistics
