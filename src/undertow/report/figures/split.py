"""A ledger entry's factor, named by its parts."""

from __future__ import annotations

from undertow.foundation import EFFECTS, say
from undertow.foundation.numbers import written
from undertow.record import Entry


def split_text(entry: Entry) -> str:
    """`activation` where one part makes the factor, `activation 0.24 · branching 1.3` where several do."""
    parts = [effect for effect in EFFECTS if getattr(entry, effect) != 1.0]
    if len(parts) < 2:
        return say(f"report.effect.{parts[0]}") if parts else ""
    return " · ".join(f"{say(f'report.effect.{p}')} {written(getattr(entry, p), 2)}" for p in parts)
