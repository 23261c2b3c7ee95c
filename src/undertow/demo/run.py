"""The demo: a real network fails on real data, is explained, and is cured; then its exploding twin."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from rich.console import Console
from torch import nn

from undertow.cures import Verdicts, cure
from undertow.demo.networks import BATCH, DEPTH, RATE, WIDTH, exploding_network, sigmoid_network, training
from undertow.diagnosis import Diagnosis, examine, watch
from undertow.foundation import current_language, language, say
from undertow.foundation.outputs import writable
from undertow.record import Ledger
from undertow.report import compose, print_document, verdict_table
from undertow.report import document as tree
from undertow.report.figures import backprop, curves, depth_profile, trials
from undertow.report.write import report

CURES = (
    *("relu", "leaky_relu", "swish", "elu", "batch_norm", "matched_init"),
    *("adam", "rmsprop", "clip_norm", "learning_rate"),
)
"""For the first network: the article's, also those that can't help."""
TWIN_CURES = ("relu", "matched_init", "batch_norm", "clip_norm", "learning_rate", "adam")
"""For the twin: what the article names against exploding, and ReLU, to show that it is none."""


def run(lang: str, output: Path, console: Console) -> int:
    """Train, measure, explain and cure both networks; print it all and write it to `output` as HTML.

    Returns 0: the faults are planted, finding them is the demo's success.  Raises OutputError before any work if the
    file cannot be written.
    """
    began, threads = perf_counter(), torch.get_num_threads()
    writable(output)
    torch.set_num_threads(1)  # layers of 64 units are too small to share out: two threads are slower than one
    try:
        with language(lang):
            blocks = [*_vanishing(console), *_exploding(console)]
            document = tree.Document(say("demo.title"), lang, tuple(blocks), say("demo.subtitle"))
            report(document, output)
            console.print(say("demo.written", path=output, seconds=f"{perf_counter() - began:.0f}"))
    finally:
        torch.set_num_threads(threads)
    return 0


def _vanishing(console: Console) -> list[tree.Block]:
    diagnosis, accuracy, seconds = _train(sigmoid_network)
    fails = [
        tree.Heading(say("demo.vanishing.heading")),
        tree.Paragraph(say("demo.vanishing.network", depth=DEPTH, width=WIDTH, rate=RATE, batch=BATCH)),
        tree.Callout(say("demo.stuck", accuracy=accuracy, steps=diagnosis.steps, seconds=f"{seconds:.1f}"), "bad"),
        compose.ledger_table(diagnosis.first_ledger),
        *map(compose.finding_card, diagnosis.findings),
    ]
    _show(console, fails)
    verdicts = _trials(console, sigmoid_network, CURES)
    cured = [tree.Heading(say("demo.cures")), verdict_table(verdicts), *_best(verdicts)]
    _show(console, cured)
    return [
        *fails,
        _figure(curves("sigmoid"), "demo.curve_caption"),
        _figure(backprop(diagnosis.first_ledger, first=0, last=5), "demo.slice_caption"),
        *cured,
        _trials_figure(verdicts),
    ]


def _exploding(console: Console) -> list[tree.Block]:
    diagnosis, accuracy, seconds = _train(exploding_network)
    fails = [
        tree.Heading(say("demo.exploding.heading")),
        tree.Paragraph(say("demo.exploding.network", depth=DEPTH, width=WIDTH, rate=RATE)),
        tree.Callout(say("demo.stuck", accuracy=accuracy, steps=diagnosis.steps, seconds=f"{seconds:.1f}"), "bad"),
        *map(compose.finding_card, diagnosis.findings),
    ]
    _show(console, fails)
    verdicts = _trials(console, exploding_network, TWIN_CURES)
    cured = [
        tree.Heading(say("demo.cures_twin")),
        verdict_table(verdicts),
        *_best(verdicts),
        tree.Callout(say("demo.relu_lesson"), "neutral"),
    ]
    _show(console, cured)
    vanishing, exploding = say("demo.vanishing.short"), say("demo.exploding.short")
    both = {vanishing: _first_ledger(sigmoid_network), exploding: diagnosis.first_ledger}
    figure = _figure(depth_profile(both), "demo.depth_caption")
    return [*fails, figure, *cured, _trials_figure(verdicts)]


def _train(network: Callable[[], nn.Module]) -> tuple[Diagnosis, float, float]:
    """One seed under watch, as the user's own loop would: the diagnosis, the held-out accuracy and the seconds."""
    began, task = perf_counter(), training(network, seed=0)
    assert task.metric is not None
    assert isinstance(task.batches, list)
    with watch(task.model, task.optimizer) as observed:
        for x, y in task.batches:
            task.optimizer.zero_grad()
            loss = task.loss(task.model(x), y)
            loss.backward()
            task.optimizer.step()
            observed.log(loss)
    return observed.diagnose(), task.metric(task.model), perf_counter() - began


def _first_ledger(network: Callable[[], nn.Module]) -> Ledger:
    task = training(network, seed=0, steps=1)
    assert isinstance(task.batches, list)
    return examine(task.model, task.batches[0], task.loss).ledger


def _trials(console: Console, network: Callable[[], nn.Module], names: tuple[str, ...]) -> Verdicts:
    console.print(say("demo.trying"))
    return cure(lambda seed: training(network, seed), cures=names, progress=console.is_terminal)


def _best(verdicts: Verdicts) -> list[tree.Block]:
    best = verdicts.best
    if best is None:
        return [tree.Callout(say("demo.no_cure"), "warn")]
    before = "–" if math.isnan(best.before) else best.before
    text = say("demo.best", cure=best.cure, before=before, after=best.after, seeds=len(verdicts.seeds))
    return [tree.Callout(text, "good"), tree.Paragraph(say("demo.write_this")), tree.Code(best.patch)]


def _trials_figure(verdicts: Verdicts) -> tree.Figure:
    shown = [v.cure for v in verdicts if v.curves][:4]
    return _figure(trials(verdicts, shown), "demo.trials_caption")


def _figure(svg: str, caption: str) -> tree.Figure:
    return tree.Figure(svg, say(caption), say(caption))


def _show(console: Console, blocks: list[tree.Block]) -> None:
    print_document(tree.Document("", current_language(), tuple(blocks)), console)
