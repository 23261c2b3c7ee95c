"""What becomes of a rule that can't judge: one that lacks evidence, one that does not apply, one that fails."""

from __future__ import annotations

import pytest

from undertow.diagnosis import Diagnosis, all_rules
from undertow.diagnosis.examples import classify, mlp, observed
from undertow.diagnosis.judge import asked, judge
from undertow.foundation.messages import LANGUAGES, language
from undertow.record import Recording


@pytest.fixture(scope="module")
def recording() -> Recording:
    return observed(classify(mlp("relu", depth=2, he=True)))


def test_rules_for_what_the_model_does_not_have_are_not_listed(recording: Recording) -> None:
    diagnosis: Diagnosis = judge(recording)
    listed = {n.rule for n in diagnosis.not_judged}
    assert not listed & {"saturated_attention", "vanishing_through_time", "exploding_through_time"}
    assert "too_small_lr" in listed


def test_a_rule_that_fails_leaves_the_others_their_word(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = next(r for r in all_rules() if r.name == "dead")

    def fails(_rule: object, _recording: Recording):  # type: ignore[no-untyped-def]
        raise ZeroDivisionError

    monkeypatch.setattr(type(broken), "check", fails)
    with pytest.warns(RuntimeWarning, match="dead"):
        _, unjudged = asked(all_rules(), recording)
    failed = next(n for n in unjudged if n.rule == "dead")
    for name in LANGUAGES:
        with language(name):
            assert "ZeroDivisionError" in failed.reason
