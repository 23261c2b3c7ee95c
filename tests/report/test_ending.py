"""What a watched program ends with on the terminal."""

from __future__ import annotations

import math

import pytest

from undertow.foundation import language
from undertow.record import Ledger, LossReading, Recording, Snapshot, StepReading
from undertow.report import ending
from undertow.report.document import Paragraph


def said(recording: Recording) -> str:
    document, _ = ending([recording], "train.py")
    return next(block.text for block in document.blocks if isinstance(block, Paragraph))


def recording(*losses: float) -> Recording:
    made = Recording(optimizers=["Adam", "SGD"])
    for step, loss in enumerate(losses):
        for optimizer in range(2):
            made.add(StepReading(step, 1.0, 0.1, optimizer))
        made.add(LossReading(step, loss))
    made.add(Snapshot(0, Ledger(()), 8))
    return made


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ((2.0, 3.0, 1.0), "The loss went from 2 to 1 at step 2."),
        ((math.nan, math.nan), "The loss was NaN from the first step on."),
        ((math.inf, math.nan), "The loss was ∞ from the first step on."),
        ((2.0, 4e8, math.inf, math.nan), "The loss was 2 at first, 4×10⁸ at step 1, and NaN since step 2."),
        ((2.0, math.nan, 1.0), "The loss went from 2 to 1 at step 2."),
    ],
)
def test_the_loss(losses: tuple[float, ...], words: str) -> None:
    assert words in said(recording(*losses))


def test_a_step_of_two_optimizers_is_one_and_what_was_let_go_counts() -> None:
    made = recording(2.0, 1.0)
    assert said(made).startswith("2 steps of Adam, SGD, 1 of them measured whole.")
    made.thinned_steps, made.thinned_snapshots, made.unread_steps = 100, 10, 30
    assert said(made).startswith("132 steps of Adam, SGD, 11 of them measured whole.")
    with language("ko"):
        assert "132개" in said(made)
