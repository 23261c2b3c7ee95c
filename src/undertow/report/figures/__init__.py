"""Figures as SVG text, a file a figure."""

from undertow.report.figures.all import write_all as write_all
from undertow.report.figures.backprop import backprop as backprop
from undertow.report.figures.curves import curves as curves
from undertow.report.figures.depth import depth_profile as depth_profile
from undertow.report.figures.forecast import forecast_figure as forecast_figure
from undertow.report.figures.phase import phase_diagram as phase_diagram
from undertow.report.figures.race import race as race
from undertow.report.figures.save import save as save
from undertow.report.figures.thumbnail import thumbnail as thumbnail
from undertow.report.figures.trials import trials as trials
