"""The page of the table, docs/forecast-accuracy.md, from the lines of the cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.forecast_accuracy.explained import EXPLAINED
from benchmarks.forecast_accuracy.rows import TITLES, Line

HEAD = """# How near the forecast comes

`make forecast-accuracy` measures networks at random initialisation by plain torch and holds `ut.forecast` against
them: the root mean square of the gradient at every site, relative to the last one.  A number is the error of the
median over seeds, each seed's forecast made from its own weights and input; a case is one network.  *flagged* is a
miss that the forecast gives notice of.
"""


def summary(lines: Sequence[Line]) -> str:
    """One row a target: the case that is furthest from it among those without a flag, and what became of all."""
    rows = ["| network | target | furthest case | outcome |", "|---|---|---|---|"]
    for row, title in TITLES.items():
        own = [line for line in lines if line.row == row]
        if not own:
            continue
        counts = Counter(line.outcome for line in own)
        furthest = [line for line in own if line.outcome == "miss"] or [line for line in own if line.outcome == "pass"]
        line = max(furthest or own, key=lambda line: max(g.value / g.limit for g in line.got))
        target = ", ".join(f"{g.what} ≤ {g.show(g.limit)}" for g in line.got)
        outcome = ", ".join(f"{counts[o]} {o}" for o in ("pass", "flagged", "miss") if counts[o])
        verdict = "**miss**" if counts["miss"] else "pass"
        rows.append(f"| {title} | {target} | {line.name}: {_values(line)} | {verdict} ({outcome}) |")
    return "\n".join(rows)


def details(lines: Sequence[Line]) -> str:
    parts: list[str] = []
    for row, title in TITLES.items():
        own = [line for line in lines if line.row == row]
        if own:
            parts += [f"## {title[0].upper()}{title[1:]}", "", *_table(own), ""]
            parts += [EXPLAINED[row].strip(), ""] if row in EXPLAINED else []
    return "\n".join(parts)


def _table(lines: Sequence[Line]) -> list[str]:
    heads = [g.what for g in lines[0].got]
    rows = [f"| case | seeds | {' | '.join(heads)} | outcome | |", "|---" * (len(heads) + 4) + "|"]
    for line in lines:
        flags = f" ({', '.join(line.flags)})" if line.flags else ""
        values = " | ".join(g.show(g.value) for g in line.got)
        rows.append(f"| {line.name} | {line.seeds} | {values} | {line.outcome}{flags} | {line.note} |")
    return rows


def _values(line: Line) -> str:
    return ", ".join(g.show(g.value) for g in line.got)
