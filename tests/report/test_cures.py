"""What a search comes to: one true sentence for each way in which it can end, and the report around it."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from undertow.cures import Verdict, Verdicts, chosen
from undertow.cures.search.race import Lane
from undertow.cures.trials.effects import Effects
from undertow.diagnosis import Evidence, Finding
from undertow.foundation import language
from undertow.report.cures import ending, headline, instead, verdicts_data, verdicts_document
from undertow.report.document import Callout, Code, Figure, Heading, Table, Text
from undertow.report.html import html
from undertow.report.markdown import markdown
from undertow.report.structured import as_json
from undertow.report.write import report

VALUES = {"act": "σ", "slope": 0.2, "activation": 0.2, "weights": 0.5, "layers": 20, "flow": 1e-9, "first": "0"}
FAULT = Finding("vanishing", "critical", "activation", "0 (linear)", 0, (Evidence("flow", 1e-9, 1e-3),), values=VALUES)
UNKNOWN = (-math.inf, math.inf)


def curves(start: float, end: float, wobble: float = 0.0) -> tuple[tuple[float, ...], ...]:
    """Three seeds; `wobble` is how much the seeds differ at the end."""
    return tuple(tuple(start + (end + wobble * (s - 1) - start) * i / 99 for i in range(100)) for s in range(3))


def control(**more) -> Verdicts:
    """Without any change: a loss that falls, and a metric that rises from that of the untrained model."""
    known = {"control": (0.9, 0.92, 0.91), "untrained": (0.1, 0.12, 0.09), "metric": "metric", "seconds": 12.0}
    sound = Verdicts((), control_curves=curves(2.3, 0.2), seeds=(0, 1, 2), steps=100, **known)
    return replace(sound, **more)


def tried(outcome: str, interval: tuple[float, float] = (0.7, 0.9), **more) -> Verdict:
    return Verdict("relu + adam", outcome, 0.1, 0.1 + sum(interval) / 2, interval, "model = 1", **more)  # pyright: ignore[reportArgumentType]


SICK = {"control_findings": ("vanishing",), "findings": (FAULT,), "control_curves": curves(2.3, 2.3)}
LANES = tuple(Lane(cure, {5: 0.1, 15: 0.2}) for cure in chosen(["relu", "adam"]))
ENDS = {
    "cured": control(verdicts=(tried("cured"),), **SICK),
    "cured_rescued": control(verdicts=(tried("cured", UNKNOWN, change=None),), **SICK),
    "helped": control(verdicts=(tried("helped"),)),
    "helped_in_part": control(verdicts=(tried("helped", remaining=("dead",)),), **SICK),
    "healthy": control(),
    "memorised": control(control=(0.1, 0.11, 0.12), untrained=(0.12, 0.1, 0.1)),
    "unlearned": control(control_curves=curves(2.3, 2.29, 0.3)),
    "nothing": control(verdicts=(tried("no effect", (-0.2, 0.4)),), raced=LANES, **SICK),
    "nothing_ran": control(raced=LANES, **SICK),
    "untried": control(**SICK),
    "interrupted": control(interrupted=True, **SICK),
}
STARTS = {
    "cured": "CURED: t.py:make: Vanishing gradient from 0 (linear), since step 0. relu + adam takes the metric from "
    "0.1 to 0.9, better by 0.7 to 0.9 (95 % interval, 3 seeds), and the fault is gone.",
    "cured_rescued": "CURED: t.py:make: ",
    "helped": "HELPED: t.py:make: no fault of the gradient. relu + adam takes",
    "helped_in_part": "HELPED: ",
    "healthy": "HEALTHY: t.py:make: nothing to cure. No fault of the gradient in 100 steps on 3 seeds",
    "memorised": "NOT THE GRADIENT: t.py:make: no fault of the gradient, and the loss falls from",
    "unlearned": "NOT THE GRADIENT: t.py:make: no fault of the gradient in 100 steps, and yet the loss stays",
    "nothing": "NOT CURED: t.py:make: Vanishing gradient from 0 (linear), since step 0. Changes tried: 3",
    "nothing_ran": "NOT CURED: ",
    "untried": "NOT CURED: ",
    "interrupted": "STOPPED: ",
}


@pytest.mark.parametrize("name", ENDS)
def test_each_end_has_its_sentence(name: str) -> None:
    verdicts = ENDS[name]
    assert ending(verdicts) == name.removesuffix("_rescued").removesuffix("_in_part").removesuffix("_ran")
    assert headline(verdicts, "t.py:make").startswith(STARTS[name])
    assert headline(verdicts, "t.py:make", "do this").endswith("Next: do this")
    said = [headline(verdicts, "t.py:make"), *instead(verdicts)]
    with language("ko"):
        korean = [headline(verdicts, "t.py:make"), *instead(verdicts)]
    assert len(korean) == len(said)
    assert not set(said) & set(korean)
    assert "{" not in " ".join([*said, *korean])


def test_who_is_not_cured_is_told_what_to_look_at() -> None:
    assert instead(ENDS["cured"]) == []
    assert "labels" in instead(ENDS["memorised"])[0]
    assert "labels belong to the inputs" in instead(ENDS["unlearned"])[0]
    unproven = instead(ENDS["nothing"])
    assert any("--seeds" in text for text in unproven)
    cut = replace(ENDS["untried"], control_findings=("disconnected", "loss_mismatch"))
    assert "detach()" in instead(cut)[0]
    assert "logits" in instead(cut)[1]
    worse = control(verdicts=(tried("harmed", (-0.4, -0.2)),), **SICK)
    assert not any("--seeds" in text for text in instead(worse))


def test_a_metric_that_was_not_taken_at_the_start_proves_nothing_against_the_run() -> None:
    assert ending(control(untrained=())) == "healthy"


def test_one_seed_has_no_interval_and_is_judged_by_its_sign() -> None:
    one = control(control=(0.9,), untrained=(0.1,), control_curves=curves(2.3, 0.2)[:1], seeds=(0,))
    assert ending(one) == "healthy"
    assert ending(replace(one, control_curves=((1.0,) * 50 + (1.1,) * 50,))) == "unlearned"


def test_the_page_has_the_sentence_the_fault_the_tables_the_figures_and_the_patch_last() -> None:
    points = tuple(tuple((step, step / 100) for step in (0, 50, 100)) for _ in range(3))
    effects = Effects(100, 200, 10, 10, step_ratio=1.52)
    verdict = tried("cured", curves=curves(2.3, 0.1), metrics=points, effects=effects)
    verdicts = control(verdicts=(verdict,), raced=LANES, untried=(("selu", "refused"),), control_metrics=points, **SICK)
    blocks = verdicts_document(verdicts, "t.py:make").blocks
    assert isinstance(blocks[0], Callout)
    assert blocks[0].text == headline(verdicts, "t.py:make")
    assert isinstance(blocks[-1], Code)
    assert [type(b) for b in blocks].count(Figure) == 2
    assert [type(b) for b in blocks].count(Table) == 3
    figure = next(b for b in blocks if isinstance(b, Figure)).svg
    assert "the metric" in figure
    table = next(b for b in blocks if isinstance(b, Table))
    assert table.rows[0].cells[5] == Text("parameters ×2, time a step ×1.5")
    for code in ("en", "ko"):
        with language(code):
            page = html(verdicts_document(verdicts, "t.py:make"))
            assert "relu + adam" in page
            assert "refused" in page
            assert page.count("<svg") == 2
            plain = verdicts_document(verdicts, "t.py:make", whole=False)
            assert markdown(plain).startswith(f"# {headline(verdicts, 't.py:make').split('_')[0]}")
            assert not any(isinstance(b, Figure) for b in plain.blocks)
    assert isinstance(plain.blocks[0], Heading)


def test_the_data_are_json_and_whole() -> None:
    data = json.loads(as_json(verdicts_data(ENDS["nothing"], "t.py:make", "next")))
    assert (data["format"], data["ending"], data["best"], data["next"]) == (1, "nothing", None, "next")
    assert data["control"]["findings"][0]["kind"] == "vanishing"
    assert data["verdicts"][0]["interval"] == [-0.2, 0.4]
    assert data["raced"][0] == {
        "cure": "relu",
        "metrics": [{"step": 5, "metric": 0.1}, {"step": 15, "metric": 0.2}],
        "reason": "",
    }
    assert data["control"]["gain"]["interval"][0] > 0


def test_verdicts_are_written_like_a_diagnosis(tmp_path) -> None:
    for name in ("a.html", "a.md", "a.txt", "a.json"):
        assert "relu + adam" in report(ENDS["cured"], tmp_path / name).read_text(encoding="utf-8").replace("\\", "")
