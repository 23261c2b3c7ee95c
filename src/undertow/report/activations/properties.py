"""Properties by which activation functions are chosen, a line each."""

from __future__ import annotations

import math
from collections.abc import Callable

from undertow.activations import Landmarks, Traits
from undertow.foundation import Registry
from undertow.report.activations.datasheet import Datasheet, Gaussian

PROPERTIES: Registry[Callable[[Datasheet], bool]] = Registry("property", "undertow activations list --help")


def _measured(name: str, holds: Callable[[Traits, Landmarks, Gaussian], bool]) -> None:
    """A property that only a function of one number has."""

    def of(sheet: Datasheet) -> bool:
        return (
            sheet.traits is not None
            and sheet.landmarks is not None
            and sheet.gaussian is not None
            and holds(sheet.traits, sheet.landmarks, sheet.gaussian)
        )

    PROPERTIES.add(name, of)


PROPERTIES.add("pointwise", lambda sheet: sheet.traits is not None)
PROPERTIES.add("learnable", lambda sheet: bool(sheet.act.learned))
PROPERTIES.add("parameters", lambda sheet: bool(sheet.parameters))
_measured("monotone", lambda t, m, g: t.monotone)
_measured("invertible", lambda t, m, g: m.strict)
_measured("bounded", lambda t, m, g: t.bounded)
_measured("bounded-below", lambda t, m, g: t.range[0] > -math.inf)
_measured("bounded-above", lambda t, m, g: t.range[1] < math.inf)
_measured("smooth", lambda t, m, g: m.smoothness == math.inf)
_measured("continuous", lambda t, m, g: m.smoothness >= 0)
_measured("odd", lambda t, m, g: t.odd)
_measured("even", lambda t, m, g: t.even)
_measured("convex", lambda t, m, g: m.curvature in ("convex", "linear"))
_measured("concave", lambda t, m, g: m.curvature in ("concave", "linear"))
_measured("saturating", lambda t, m, g: t.saturating)
_measured("zero-centred", lambda t, m, g: abs(g.E_f) < 1e-9)
_measured("non-expansive", lambda t, m, g: t.steepest <= 1 + 1e-9)
_measured("dead-zone", lambda t, m, g: bool(m.constant))
