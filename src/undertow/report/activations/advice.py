"""When to use an activation and when not: what is written in the catalogue, else what follows from its properties."""

from __future__ import annotations

import math
from collections.abc import Iterator

from undertow.foundation import knows, say
from undertow.report.activations.datasheet import Datasheet
from undertow.report.activations.words import interval, number, span

SHIFTED = 0.1
"""A mean output beyond this is worth a sentence.  Our choice."""
STEEP = 1.2
"""A slope beyond this is worth a sentence.  Our choice."""


def is_written(sheet: Datasheet) -> bool:
    """Whether there is a text for this very function: a user's own may have the name of one of ours."""
    return sheet.act.name == getattr(type(sheet.act), "name", None) and knows(f"advice.{sheet.act.name}.use")


def use(sheet: Datasheet) -> list[str]:
    return [say(f"advice.{sheet.act.name}.use")] if is_written(sheet) else list(_strengths(sheet))


def avoid(sheet: Datasheet) -> list[str]:
    return [say(f"advice.{sheet.act.name}.avoid")] if is_written(sheet) else list(_weaknesses(sheet))


def _strengths(sheet: Datasheet) -> Iterator[str]:
    t, m, g = sheet.traits, sheet.landmarks, sheet.gaussian
    if t is None or m is None or g is None:
        return
    for where, slope in zip((-math.inf, math.inf), t.end_slopes, strict=True):
        if slope and math.isfinite(slope):
            yield say("activations.derived.passes", value=number(slope), where=number(where))
    if abs(g.E_f) < 1e-9:
        yield say("activations.derived.centred")
    if m.strict:
        yield say("activations.derived.invertible")
    if math.isinf(m.smoothness):
        yield say("activations.derived.smooth")
    if t.bounded:
        yield say("activations.derived.bounded", range=span(t.range))
    elif t.range[0] >= 0:
        yield say("activations.derived.positive")


def _weaknesses(sheet: Datasheet) -> Iterator[str]:
    t, m, g = sheet.traits, sheet.landmarks, sheet.gaussian
    if t is None or m is None or g is None:
        yield say("activations.derived.coupled")
        return
    for ends in m.constant:
        yield say("activations.derived.dead", where=interval(*ends))
    for where, flat in zip((-math.inf, math.inf), (t.flat_left, t.flat_right), strict=True):
        if flat and not any(where in ends for ends in m.constant):
            yield say("activations.derived.fades", where=number(where))
    if math.isinf(t.steepest):
        yield say("activations.derived.unbounded")
    elif t.steepest > STEEP:
        yield say("activations.derived.steep", value=number(t.steepest))
    if abs(g.E_f) > SHIFTED:
        yield say("activations.derived.shifts", value=number(g.E_f))
    if m.extrema:
        yield say("activations.derived.falls", where=number(min((e.x for e in m.extrema), key=abs)))
    if m.smoothness < 0:
        yield say("activations.derived.jumps")
