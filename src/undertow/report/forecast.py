"""From a forecast, and its comparison with measurements, to the blocks of a document, and to plain data."""

from __future__ import annotations

import math
from typing import Any

from undertow.diagnosis import Compared, Comparison
from undertow.foundation import current_language, say
from undertow.foundation.numbers import written
from undertow.report import document as tree
from undertow.report.compose import finding_card
from undertow.report.document import Block, Cell, Column, Document, Number, Row, Table, Text
from undertow.report.structured import finding_data
from undertow.theory import Forecast
from undertow.theory.folding import Folded, folded
from undertow.theory.printed import cells, cure, depths, doubt, fold_text, sound, summary, where

SITE_COLUMNS = ("site", "forward", "backward", "interval", "factor", "effect")
COMPARED = ("site", "backward", "interval", "measured", "ratio", "verdict")


def forecast_document(forecast: Forecast, comparison: Comparison | None = None, figures: bool = True) -> Document:
    """The verdict first, then the sites, the depths, and why to doubt them; in the current language."""
    blocks: list[Block] = []
    for finding in forecast.findings:
        blocks.append(finding_card(finding))
        if cure(finding):
            blocks.append(tree.Callout(cure(finding)))
    if forecast.healthy:
        blocks.append(tree.Callout(sound(forecast), "good"))
    if comparison is not None:
        blocks += _compared(comparison)
    if figures and any(0 < e.backward_rms < math.inf for e in forecast.ledger.path):
        from undertow.report.figures.forecast import forecast_figure

        picture = forecast_figure(comparison or forecast)
        blocks.append(tree.Figure(picture, say("forecast.figure.caption"), say("forecast.figure.title")))
    if comparison is None:
        blocks.append(sites_table(forecast))
    first, *rest = depths(forecast)
    blocks += map(tree.Paragraph, rest)
    blocks += _doubts(forecast)
    return Document(say("forecast.title"), current_language(), tuple(blocks), first)


def sites_table(forecast: Forecast) -> Table:
    """A row a site, equal blocks folded."""
    rows = []
    for line in folded(forecast.sites):
        if isinstance(line, Folded):
            rows.append(_fold_row(line, len(SITE_COLUMNS)))
        else:
            name, *numbers = cells(line)
            rows.append(Row((Text(name, code=True), *map(Text, numbers))))
    product = (Text(say("forecast.product")), *[Text("")] * 3, Number(forecast.end_to_end, 3, times=True), Text(""))
    rows.append(Row(product, strong=True))
    return Table(_columns(SITE_COLUMNS), tuple(rows), note=say("forecast.reading"))


def _columns(names: tuple[str, ...]) -> tuple[Column, ...]:
    words = ("site", "effect", "verdict")
    return tuple(Column(say(f"forecast.column.{n}"), "left" if n in words else "right") for n in names)


def _fold_row(fold: Folded, columns: int) -> Row:
    return Row((Text(f"⋮ {fold_text(fold)}"), *[Text("")] * (columns - 1)))


def _compared(comparison: Comparison) -> list[Block]:
    known = {c.forecast.site: c for c in comparison.sites}
    rows = []
    for line in folded([c.forecast for c in comparison.sites]):
        rows.append(_fold_row(line, len(COMPARED)) if isinstance(line, Folded) else _compared_row(known[line.site]))
    of, outside = comparison.judged, comparison.outside
    if outside:
        worst = outside[0]
        numbers = {"measured": worst.measured, "low": worst.low, "high": worst.high}
        text = say(
            "forecast.measured.misses", outside=len(outside), of=len(of), site=worst.forecast.site.label, **numbers
        )
    else:
        text = say("forecast.measured.passes", inside=len(of), of=len(of))
    key = "seeds" if comparison.seeds > 1 else "single"
    note = say(f"forecast.measured.{key}", seeds=comparison.seeds)
    table = Table(_columns(COMPARED), tuple(rows), say("forecast.measured.title"), note)
    blocks: list[Block] = [tree.Callout(text, "good" if comparison.holds else "bad"), table]
    if comparison.missing:
        blocks.append(tree.Paragraph(say("forecast.measured.missing", sites=", ".join(comparison.missing[:8]))))
    return blocks


def _compared_row(site: Compared) -> Row:
    unseen = math.isnan(site.measured)
    verdict = "unseen" if unseen else "pass" if site.within else "miss"
    tones: dict[str, tree.Tone] = {"pass": "good", "miss": "bad", "unseen": "neutral"}
    ratio: Cell = Text("") if unseen else Number(site.ratio, 3, times=True)
    return Row(
        (
            Text(site.forecast.site.label, code=True),
            Number(site.expected),
            Text(f"{written(site.low, 2)} … {written(site.high, 2)}"),
            Text("") if unseen else Number(site.measured),
            ratio,
            tree.Badge(say(f"forecast.measured.{verdict}"), tones[verdict]),
        )
    )


def _doubts(forecast: Forecast) -> list[Block]:
    if not forecast.flags:
        return [tree.Paragraph(say("forecast.no_doubts"))]
    rows = tuple(Row((Text(doubt(forecast, f)), Text(where(sites)))) for f, sites in forecast.flags.items())
    columns = (Column(say("forecast.doubts")), Column(say("forecast.column.site")))
    return [Table(columns, rows)]


# ---------------------------------------------------------------- data


def forecast_data(forecast: Forecast, comparison: Comparison | None = None) -> dict[str, Any]:
    """What `as_json` writes of a forecast."""
    depths_of = {
        name: {str(dtype).removeprefix("torch."): depth for dtype, depth in getattr(forecast, name).items()}
        for name in ("underflow_depth", "overflow_depth")
    }
    return {
        "model": forecast.blueprint.name,
        "healthy": forecast.healthy,
        "summary": summary(forecast),
        "end_to_end": forecast.end_to_end,
        "layers": forecast.layers,
        "per_layer": forecast.per_layer,
        "trainable_depth": forecast.trainable_depth,
        **depths_of,
        "isometry": forecast.isometry._asdict() if forecast.isometry else None,
        "flags": {flag: [s.name for s in sites] for flag, sites in forecast.flags.items()},
        "findings": [finding_data(f) for f in forecast.findings],
        "matched_end_to_end": forecast.matched.end_to_end if forecast.matched and not forecast.healthy else None,
        "sites": [_site_data(s) for s in forecast.sites],
        "measured": _measured_data(comparison) if comparison else None,
    }


def _site_data(site: Any) -> dict[str, Any]:
    names = ("forward_rms", "backward_rms", "low", "high", "factor", "effect", "flags")
    previous = site.previous.name if site.previous else None
    return {"site": site.site.name, "operation": site.site.operation, "previous": previous} | {
        name: getattr(site, name) for name in names
    }


def _measured_data(comparison: Comparison) -> dict[str, Any]:
    names = ("expected", "low", "high", "measured", "measured_forward", "ratio", "within")
    sites = [{"site": c.forecast.site.name} | {n: getattr(c, n) for n in names} for c in comparison.sites]
    return {"holds": comparison.holds, "seeds": comparison.seeds, "missing": comparison.missing, "sites": sites}
