"""Every rule, found by the registry, against its own examples and its own page."""

from __future__ import annotations

import ast
import inspect
import string
from dataclasses import fields
from functools import cache
from itertools import pairwise
from typing import Any, get_args

import pytest

from undertow.cures import CURES, all_cures
from undertow.diagnosis import Diagnosis, Finding, Rule, all_rules, judge, watch
from undertow.diagnosis.causes import MAKES, PRECEDENCE
from undertow.diagnosis.rule import RULES as REGISTRY
from undertow.diagnosis.rule import SECTIONS, Example
from undertow.foundation import Cause, Confidence, Kind, language
from undertow.foundation.messages import LANGUAGES, catalogue
from undertow.record import Recording

RULES = pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.name)


RULES_BY_NAME = dict(REGISTRY.items())


def recorded(example: Example) -> Recording:
    with watch(example.model, example.optimizer, budget=None) as run:
        for inputs, target in example.batches:
            example.optimizer.zero_grad()
            loss = example.loss(example.model(inputs), target)
            loss.backward()
            example.optimizer.step()
            run.log(loss)
    return run.recording


@cache
def sick(name: str) -> Recording:
    return recorded(RULES_BY_NAME[name].sick())


def found(rule: Rule) -> list[Finding]:
    """What the rule alone says of its sick example."""
    return [said for said in rule.check(sick(rule.name)) if isinstance(said, Finding)]


def module_of(rule: Rule) -> Any:
    return inspect.getmodule(type(rule))


def causes_of(rule: Rule) -> tuple[str, ...]:
    """The causes that a rule can name: the keys of its table of cures."""
    return tuple(module_of(rule).CURES)


def test_the_first_five_kinds_have_a_rule() -> None:
    assert {"vanishing", "exploding", "saturated", "dead", "nonfinite"} <= {r.kind for r in all_rules()}
    assert {r.kind for r in all_rules()} <= set(get_args(Kind))


@RULES
def test_the_sick_example_gives_its_kind(rule: Rule) -> None:
    assert (rule.kind, rule.name) in [(f.kind, f.rule or f.kind) for f in judge(sick(rule.name)).findings]


@RULES
def test_the_healthy_example_gives_nothing_at_all(rule: Rule) -> None:
    diagnosis = judge(recorded(rule.healthy()))
    assert diagnosis.findings == ()
    assert diagnosis.healthy


@RULES
def test_a_finding_says_where_since_when_why_and_what_helps(rule: Rule) -> None:
    recording = sick(rule.name)
    places = {"", "input", "loss"} | {e.site.label for s in recording.snapshots for e in s.ledger}
    for finding in found(rule):
        assert finding.kind == rule.kind
        assert finding.cause in causes_of(rule)
        cut_off = {u.where for u in recording.wiring.unreached} if recording.wiring else set()
        assert finding.where in places | cut_off | set(recording.parameters)
        assert finding.confidence in get_args(Confidence)
        assert 0 <= finding.step <= recording.last_step
        assert not all(e.within for e in finding.evidence)
        for code in LANGUAGES:
            with language(code):
                texts = [finding.title, finding.because, finding.overturned_by]
                texts += [e.text for e in (*finding.evidence, *finding.counter_evidence)]
                assert all(text and "{" not in text for text in texts)
                assert finding.where in finding.title


@RULES
def test_the_page_has_every_section_in_order(rule: Rule) -> None:
    lines = inspect.cleandoc(type(rule).__doc__ or "").split("\n")
    headings = [a for a, b in pairwise(lines) if b and set(b) == {"-"} and len(a) == len(b)]
    assert tuple(headings) == SECTIONS
    at = [lines.index(h) for h in headings] + [len(lines)]
    assert all(any(lines[a + 2 : b]) for a, b in pairwise(at))


@RULES
def test_every_threshold_says_where_it_comes_from(rule: Rule) -> None:
    source = ast.parse(inspect.getsource(module_of(rule)))
    body = next(n for n in source.body if isinstance(n, ast.ClassDef) and n.name == type(rule).__name__).body
    labelled = {
        a.target.id
        for a, b in pairwise(body)
        if isinstance(a, ast.AnnAssign) and isinstance(a.target, ast.Name) and _text(b).startswith("Origin: ")
    }
    assert {f.name for f in fields(rule)} <= labelled  # type: ignore[arg-type]


def _text(node: ast.stmt) -> str:
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return str(node.value.value) if constant else ""  # type: ignore[union-attr]


@RULES
def test_every_cure_that_it_names_exists(rule: Rule) -> None:
    all_cures()
    for cause, names in module_of(rule).CURES.items():
        assert cause in get_args(Cause)
        assert [n for n in names if n not in CURES] == []
    for finding in found(rule):
        assert finding.cures == module_of(rule).CURES[finding.cause]


def filled(message: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(message) if name}


@pytest.mark.parametrize("code", LANGUAGES)
@RULES
def test_every_cause_has_a_sentence_that_its_values_fill(rule: Rule, code: str) -> None:
    messages, finding = catalogue(code), found(rule)[0]
    for key in ("title", "overturned_by", *causes_of(rule)):
        sentence = messages[f"findings.{rule.name}.{key}"]
        assert sentence.strip()
        assert filled(sentence) <= {"where", "step", *finding.values}
    for evidence in (*finding.evidence, *finding.counter_evidence):
        assert messages[f"evidence.{evidence.name}"]
        assert not evidence.origin or messages[f"origin.{evidence.origin}"]


def test_every_kind_has_its_symptoms_and_its_rank() -> None:
    assert set(MAKES) == set(PRECEDENCE) == set(get_args(Kind))
    assert all(symptoms.keys() <= MAKES.keys() - {kind} for kind, symptoms in MAKES.items())


@RULES
def test_a_rule_without_what_it_needs_says_so(rule: Rule) -> None:
    for need in rule.needs:
        assert need.met(sick(rule.name))
        for code in LANGUAGES:
            assert catalogue(code)[f"unjudged.{need.name}"]


def test_a_diagnosis_lists_the_critical_first() -> None:
    diagnosis = judge(sick("exploding"))
    assert isinstance(diagnosis, Diagnosis)
    order = ["critical", "warning", "note"]
    assert [f.severity for f in diagnosis.findings] == sorted((f.severity for f in diagnosis.findings), key=order.index)
    assert not diagnosis.healthy
    assert (diagnosis.steps, diagnosis.measured) == (8, 8)
