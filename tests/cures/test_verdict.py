"""Intervals and outcomes, against cases worked by hand."""

import math

import pytest

from undertow.cures import Trial, chosen
from undertow.cures.trials.verdict import STUDENT_T, Verdict, Verdicts, interval, judge, ranked
from undertow.diagnosis import Finding
from undertow.foundation import UnknownNameError, language

ADAM = chosen("adam")[0]
SICK = (Finding("vanishing", "critical", "activation", "", 0),)


def trials(*metrics: float, findings: tuple[Finding, ...] | None = (), reason: str = "") -> list[Trial]:
    return [Trial(metric, (1.0,), reason, findings) for metric in metrics]


def outcome(control: list[Trial], cured: list[Trial]) -> str:
    return judge(ADAM, "", control, cured).outcome


def test_interval_by_hand():
    # differences 1, 2, 3: mean 2, s = 1, half width 4.303 / √3 = 2.4843
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((-0.48434, 4.48434), abs=1e-4)
    # two: mean 1.5, s = 0.70711, half width 12.706 · 0.5 = 6.353
    assert interval([1.0, 2.0]) == pytest.approx((-4.853, 7.853))
    assert interval([0.5, 0.5, 0.5]) == (0.5, 0.5)
    assert interval([1.0]) == interval([]) == (-math.inf, math.inf)


def test_student_t_against_its_own_distribution():
    """P(|T| ≤ t) by integrating the density; ν = 1 is arctan."""
    for nu, t in enumerate(STUDENT_T, 1):
        scale = math.gamma((nu + 1) / 2) / (math.sqrt(nu * math.pi) * math.gamma(nu / 2))
        n = 4000
        inside = sum(scale * (1 + ((i + 0.5) * t / n) ** 2 / nu) ** (-(nu + 1) / 2) for i in range(n)) * 2 * t / n
        assert inside == pytest.approx(0.95, abs=1e-4), nu


def test_outcomes():
    sick = trials(0.1, 0.1, 0.1, findings=SICK)
    assert outcome(sick, trials(0.9, 0.91, 0.9)) == "cured"
    assert outcome(sick, trials(0.9, 0.91, 0.9, findings=SICK)) == "helped"
    assert outcome(trials(0.1, 0.1, 0.1), trials(0.9, 0.91, 0.9)) == "helped"  # no fault that could be cured
    assert outcome(trials(0.1, 0.1, 0.1, findings=None), trials(0.9, 0.91, 0.9, findings=None)) == "helped"
    assert outcome(sick, trials(0.1, 0.9, 0.1)) == "no effect"
    assert outcome(sick, trials(0.05, 0.051, 0.05)) == "harmed"
    assert outcome(sick[:1], trials(0.9)) == "no effect"  # one seed proves nothing


def test_a_critical_fault_in_its_stead_is_no_cure():
    other = (Finding("exploding", "critical", "weights", "", 0),)
    verdict = judge(ADAM, "", trials(0.1, 0.1, 0.1, findings=SICK), trials(0.9, 0.9, 0.9, findings=other))
    assert (verdict.outcome, verdict.remaining) == ("helped", ("exploding",))


def test_failures():
    broken = [*trials(0.9, 0.9), *trials(math.nan, reason="NaN")]
    verdict = judge(ADAM, "", trials(0.1, 0.1, 0.1), broken)
    assert (verdict.outcome, verdict.reason) == ("harmed", "NaN")
    assert math.isnan(verdict.after)
    overflow = (Finding("nonfinite", "critical", "weights", "", 3),)
    lost = trials(math.nan, math.nan, math.nan, reason="NaN", findings=overflow)
    assert outcome(lost, trials(-0.5, -0.6, -0.4)) == "cured"
    assert outcome(lost, [*trials(-0.5, -0.6), *trials(math.nan, reason="NaN")]) == "no effect"
    assert outcome(lost, lost) == "no effect"
    # where the metric of the broken control can be measured, the interval speaks
    assert outcome(trials(0.1, 0.1, 0.1, reason="NaN", findings=SICK), trials(0.9, 0.91, 0.9)) == "cured"


def test_ranking_lookup_and_language():
    def verdict(cure: str, outcome, after: float) -> Verdict:
        return Verdict(cure, outcome, 0.1, after, (0, 0), "")

    given = [
        verdict("a", "harmed", 0.0),
        verdict("b", "cured", 0.5),
        verdict("c", "cured", 0.9),
        verdict("learning_rate ×10", "not applicable", math.nan),
        verdict("e", "helped", 0.99),
    ]
    verdicts = Verdicts(ranked(given), (0.1,), ((),), (0,), 1, "metric")
    assert [v.cure for v in verdicts] == ["c", "b", "e", "learning_rate ×10", "a"]
    assert verdicts.best is verdicts["c"]
    assert verdicts["learning_rate ×10"].outcome == "not applicable"
    with pytest.raises(UnknownNameError, match="learning_rate ×10"):
        verdicts["learning_rate x1"]
    with language("ko"):
        assert verdicts["c"].says == "치료됨"
        assert verdicts["learning_rate ×10"].says == "적용할 수 없음"
    assert Verdicts(ranked(given[:1]), (0.1,), ((),), (0,), 1, "metric").best is None
