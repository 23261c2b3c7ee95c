"""What is known of an activation function, said line by line in the current language."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from undertow.activations import Custom, Landmarks, Traits
from undertow.activations.line.inverse import why_none
from undertow.activations.line.landmarks import LISTED
from undertow.activations.line.turning import Turn
from undertow.foundation import say
from undertow.foundation.numbers import written
from undertow.report.activations.datasheet import Datasheet, Gaussian
from undertow.report.activations.properties import PROPERTIES

SHAPES = (
    *("monotone", "odd", "even", "convex", "concave", "saturating", "bounded"),
    *("zero-centred", "non-expansive", "learnable"),
)
"""The properties that are said in the line on shape; the others have lines of their own."""


def facts(sheet: Datasheet) -> dict[str, str]:
    """What there is to say: what was written down first, then what was measured; nothing that is empty."""
    return {fact: value for fact, value in {**_written(sheet), **measured(sheet)}.items() if value}


def title(fact: str) -> str:
    return say(f"activations.facts.{fact}")


def _written(sheet: Datasheet) -> dict[str, str]:
    act = sheet.act
    return {
        "name": act.label,
        "family": sheet.family,
        "aliases": ", ".join((*act.aliases, *act.presets)),
        "parameters": ", ".join(f"{name} = {value}" for name, value in sheet.parameters.items()),
        "definition": "" if isinstance(act, Custom) else sheet.definition,
        "formula": act.formula,
        "derivative": act.derivative_formula,
        "second_derivative": act.second_derivative_formula,
        "reference": str(act.reference),
        "url": act.reference.url or "",
    }


def measured(sheet: Datasheet) -> dict[str, str]:
    """What was measured, or why nothing was."""
    if sheet.traits is None or sheet.landmarks is None or sheet.gaussian is None:
        return {"measured": say("activations.couples")}
    return {
        **_function(sheet, sheet.traits, sheet.landmarks),
        **_slope(sheet.traits, sheet.landmarks),
        **_gaussian(sheet.gaussian),
    }


def _function(sheet: Datasheet, t: Traits, m: Landmarks) -> dict[str, str]:
    why = why_none(sheet.act)
    return {
        "range": span(t.range),
        "limits": ", ".join(number(v) for v in t.limits),
        "asymptotes": ", ".join(_line(a) for a in m.asymptotes),
        "zeros": numbers(m.zeros, m.endless),
        "extrema": _turns(m.extrema, m.endless),
        "inflections": numbers(m.inflections, m.endless),
        "smoothness": _smoothness(m.smoothness),
        "kinks": numbers(sheet.act.kinks, False),
        "shape": ", ".join(shapes(sheet)),
        "inverse": say("activations.no_inverse", why=_why(m)) if why else say("activations.has_inverse"),
    }


def _slope(t: Traits, m: Landmarks) -> dict[str, str]:
    return {
        "slope": span((t.lowest, t.highest)),
        "steepest": _steepest(t, m),
        "end_slopes": ", ".join(number(v) for v in t.end_slopes),
        "slope_zeros": numbers(m.slope_zeros, m.endless),
        "slope_extrema": _turns(m.slope_extrema, m.endless),
        "constant": ", ".join(interval(*ends) for ends in m.constant),
    }


def _gaussian(g: Gaussian) -> dict[str, str]:
    gains = {"forward": g.forward_gain, "backward": g.backward_gain}
    return {
        "moments": f"E[f] = {number(g.E_f)}, E[f²] = {number(g.E_f2)}, E[f′²] = {number(g.E_df2)}",
        "gain": say("activations.gains", **{k: say("activations.none") if v is None else v for k, v in gains.items()}),
    }


def gains(g: Gaussian) -> str:
    """Forward and backward, for a narrow column."""
    return " / ".join(
        say("activations.none") if v is None else written(v, 4) for v in (g.forward_gain, g.backward_gain)
    )


def shapes(sheet: Datasheet) -> list[str]:
    return [say(f"activations.shapes.{name}") for name in SHAPES if PROPERTIES[name](sheet)]


def number(value: float) -> str:
    """Six digits; a mean of 10⁻¹⁷ is what rounding leaves of 0."""
    if math.isnan(value):
        return say("activations.none")
    return written(0.0 if abs(value) < 1e-15 else value, 6)


def span(ends: Sequence[float]) -> str:
    return f"{number(ends[0])} … {number(ends[1])}"


def interval(low: float, high: float) -> str:
    return f"{'(' if math.isinf(low) else '['}{number(low)}, {number(high)}{')' if math.isinf(high) else ']'}"


def numbers(values: Iterable[float], endless: bool) -> str:
    return _list([number(v) for v in values], endless)


def _turns(turning: Iterable[Turn], endless: bool) -> str:
    kinds = {True: "maximum", False: "minimum"}
    said = [say(f"activations.{kinds[t.is_maximum]}", x=number(t.x), y=number(t.value)) for t in turning]
    return _list(said, endless)


def _list(said: list[str], endless: bool) -> str:
    return ", ".join([*said, "…"] if endless and len(said) >= LISTED else said)


def _line(asymptote: tuple[float, float] | None) -> str:
    if asymptote is None:
        return say("activations.none")
    slope, constant = asymptote
    if not slope:
        return f"y = {number(constant)}"
    times = {1.0: "x", -1.0: "−x"}.get(slope, f"{number(slope)} x")
    return f"y = {times}" + (f" {'−' if constant < 0 else '+'} {number(abs(constant))}" if constant else "")


def _smoothness(order: float) -> str:
    return say(f"activations.smoothness.{'jump' if order < 0 else 'always' if math.isinf(order) else int(order)}")


def _steepest(t: Traits, m: Landmarks) -> str:
    if m.steepest_at is None:
        return say("activations.steepest_along", value=number(t.steepest))
    how = "near" if math.isinf(m.steepest_at) else "at"
    return say(f"activations.steepest_{how}", value=number(t.steepest), where=number(m.steepest_at))


def _why(m: Landmarks) -> str:
    if m.constant:
        return say("activations.constant", where=interval(*m.constant[0]))
    turning = min((t.x for t in m.extrema), key=abs, default=None)
    return say("activations.up_and_down") if turning is None else say("activations.turns", where=number(turning))
