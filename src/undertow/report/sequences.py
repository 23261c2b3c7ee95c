"""What a report says of recurrent layers: how far the gradient reaches back along time."""

from __future__ import annotations

import math

from undertow.diagnosis.sequences import reach, sequences
from undertow.foundation import say
from undertow.record import Recording, TimeReading
from undertow.report.document import Bar, Cell, Column, Number, Row, Table, Text

PARTS = ("start", "quarter", "half", "three_quarters", "end")
"""Places of a sequence whose backward value is shown."""


def time_table(recording: Recording) -> Table | None:
    """A row a layer, at the last step that was read along time; None where there is none."""
    found = sequences(recording)
    if not found:
        return None
    last = [(s.where, s.late[-1]) for s in found]
    sizes = [b for _, r in last for b in r.backward if 0 < b < math.inf]
    low, high = (min(sizes) / 3, max(sizes)) if sizes else (1.0, 1.0)
    columns = [Column(say(f"training.time.{k}"), "right" if k != "layer" else "left") for k in _NUMBERS]
    columns += [Column(say(f"training.time.{part}")) for part in PARTS]
    rows = tuple(Row((*_numbers(where, r), *(Bar(b, low, high, 2) for b in _parts(r)))) for where, r in last)
    return Table(tuple(columns), rows, say("training.time.caption"), say("training.time.reading"))


_NUMBERS = ("layer", "length", "factor", "reach")


def _numbers(where: str, reading: TimeReading) -> tuple[Cell, ...]:
    far = reach(reading.step)
    return (
        Text(where, code=True),
        Number(reading.length),
        Number(reading.step, 2, times=True),
        Text("∞") if far is None else Number(far),
    )


def _parts(reading: TimeReading) -> list[float]:
    last = len(reading.backward) - 1
    return [reading.backward[round(i * last / (len(PARTS) - 1))] for i in range(len(PARTS))]
