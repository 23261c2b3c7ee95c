"""A forecast as plain text: what `print(forecast)` shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from undertow.foundation import Finding, say
from undertow.foundation.numbers import written
from undertow.theory.folding import Folded, folded

if TYPE_CHECKING:
    from undertow.theory.forecast import Forecast, SiteForecast

AGREES = 2.0
"""A change a layer is told where all layers together come so near to the change in all; ours."""
COLUMNS = ("site", "forward", "backward", "interval", "factor", "effect")


def printed(forecast: Forecast) -> str:
    """The verdict, the depths, the sites with equal blocks folded, and why to doubt them."""
    rows = [[say(f"forecast.column.{c}") for c in COLUMNS], *(cells(s) for s in folded(forecast.sites))]
    widths = [max(len(r[i]) for r in rows if len(r) == len(COLUMNS)) for i in range(len(COLUMNS))]
    table = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=False)).rstrip() for row in rows]
    parts = [[*verdict(forecast)], table, list(depths(forecast)), list(doubts(forecast))]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def verdict(forecast: Forecast) -> Iterator[str]:
    """The findings with what would help; where there is none above a note, that all is well and by how much."""
    for finding in forecast.findings:
        yield f"{say(f'report.severity.{finding.severity}').upper()}: {finding}"
        if help_ := cure(finding):
            yield help_
    if forecast.healthy:
        yield sound(forecast)


def sound(forecast: Forecast) -> str:
    """By how much the gradient changes in all, and a layer where that says the same."""
    left, each, layers = forecast.left, forecast.per_layer, forecast.layers
    if math.isnan(left):
        return say("forecast.nothing")
    if each == 1.0 and layers > 1:
        return say("forecast.sound_power", left=left)
    if layers > 1 and left > 0 and abs(math.log(left) - (layers - 1) * math.log(each)) <= math.log(AGREES):
        return say("forecast.sound", left=left, factor=each)
    step = forecast.largest_step
    if step is None:
        return say("forecast.sound_few", left=left)
    return say("forecast.sound_uneven", left=left, step=step[1], site=step[0].label)


def cure(finding: Finding) -> str:
    """Whether matched initial weights would help; empty where that was not asked."""
    matched = finding.values.get("matched")
    if matched is None:
        return ""
    if remaining := finding.values["remaining"]:
        return say("forecast.helps_not", matched=matched, remaining=remaining)
    return say("forecast.helps", matched=matched)


def summary(forecast: Forecast) -> str:
    parameters = f"{forecast.blueprint.parameters:,}"
    sites, name = len(forecast.sites), forecast.blueprint.name
    return say("forecast.of", name=name, parameters=parameters, layers=forecast.layers, sites=sites)


def cells(line: SiteForecast | Folded) -> list[str]:
    """A row of the table; of what is folded, one sentence."""
    if isinstance(line, Folded):
        return [f"  ⋮ {fold_text(line)}"]
    interval = f"{written(line.low, 2)} … {written(line.high, 2)}"
    marks = "".join(" !" for _ in line.flags[:1])
    effect = say(f"report.effect.{line.effect}")
    return [
        line.site.label + marks,
        written(line.forward_rms),
        written(line.backward_rms),
        interval,
        f"×{written(line.factor)}",
        effect,
    ]


def fold_text(fold: Folded) -> str:
    key = "blocks" if fold.blocks else "inside"
    return say(f"forecast.{key}", count=fold.blocks or fold.sites, factor=fold.factor)


def depths(forecast: Forecast) -> Iterator[str]:
    """Where gradients end in each format, how many layers one learning rate serves, and the Jacobian's spread."""
    yield summary(forecast)
    depth = forecast.trainable_depth
    if depth < math.inf:
        yield say("forecast.trainable", depth=int(depth) - 1)
    elif depth == math.inf:
        yield say("forecast.trainable_any")
    for key, found in (("underflow", forecast.underflow_depth), ("overflow", forecast.overflow_depth)):
        for dtype, where in found.items():
            if where < math.inf:
                yield say(f"forecast.{key}", depth=int(where), format=str(dtype).removeprefix("torch."))
    for site, back in forecast.through_time.items():
        yield say("forecast.through_time", site=site.label, factor=back.factor, steps=back.steps, left=back.left)
    if forecast.isometry is not None:
        yield say("forecast.isometry", variance=forecast.isometry.variance)


def doubts(forecast: Forecast) -> Iterator[str]:
    """What theory does not cover well, and where."""
    if not forecast.flags:
        yield say("forecast.no_doubts")
        return
    yield f"{say('forecast.doubts')}:"
    for flag, sites in forecast.flags.items():
        yield f"  ! {doubt(forecast, flag)} ({where(sites)})"


def doubt(forecast: Forecast, flag: str) -> str:
    return say(f"forecast.flags.{flag}", growth=forecast.growth)


def where(sites: tuple[object, ...]) -> str:
    first = getattr(sites[0], "label", str(sites[0]))
    return say("forecast.at", site=first, more=len(sites) - 1) if len(sites) > 1 else first
