"""Plotted figures: well-formed, selectable, the same bytes each time, saved as what the suffix says."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from undertow.activations import Pointwise, activation, names
from undertow.foundation import InputError, OutputError, UnknownNameError, language
from undertow.probe.graph import sigmoid_chain
from undertow.record import Ledger
from undertow.report.activations import families
from undertow.report.figures import backprop, curves, depth_profile, phase_diagram, save, trials

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> str:
    return " ".join("".join(t.itertext()) for t in ElementTree.fromstring(svg).iter(f"{SVG}text"))


COUPLED = [name for name in names() if not isinstance(activation(name), Pointwise)]


@pytest.mark.parametrize("name", sorted({*COUPLED, *(family[0] for family in families().values())}))
def test_functions_of_every_family_have_their_curves(name: str) -> None:
    root = ElementTree.fromstring(curves(name))
    assert root.get("role") == "img"
    assert name in (root[0].text or "")
    assert not list(root.iter(f"{SVG}style")), "a style element would style the page around the figure"
    assert not list(root.iter(f"{SVG}metadata"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sigmoid", "0.25 at x = 0"),
        ("tanh", "1 at x = 0"),
        ("relu", "kink at 0"),
        ("swish", "1.1 at x = 2.4"),
        ("frelu", "T(x) = 1.5"),
    ],
)
def test_what_the_article_shows_is_written_in_the_figure(name: str, said: str) -> None:
    assert said in texts(curves(name))


def test_overlay_names_each() -> None:
    words = texts(curves(["sigmoid", "tanh", "relu"]))
    assert all(n in words for n in ("sigmoid", "tanh", "relu"))


def test_an_unknown_activation_and_an_empty_range() -> None:
    with pytest.raises(UnknownNameError):
        curves("sigmoyd")
    with pytest.raises(InputError):
        curves("sigmoid", low=1, high=1)
    with pytest.raises(InputError):
        curves([])


def test_figures_are_deterministic(ledger) -> None:
    assert curves("tanh") == curves("tanh")
    assert depth_profile(ledger) == depth_profile(ledger)


def test_depth_profile_shows_both_and_where_half_precision_ends(ledger, ledger_of) -> None:
    svg = depth_profile({"a": ledger, "b": ledger_of(slope=0.7, weights=2.8)})
    words = texts(svg)
    assert "a: ×0.139 a layer" in words
    assert "b: ×1.96 a layer" in words
    assert "float16 loses precision below" in words
    assert "float32" not in words, "that line is out of sight"


def test_depth_profile_reaches_single_precision_when_deep(ledger_of) -> None:
    assert "float32, bfloat16" in texts(depth_profile(ledger_of(60)))


def test_depth_profile_counts_what_no_log_scale_shows(ledger) -> None:
    blank = replace(ledger.entries[0], backward=replace(ledger.entries[0].backward, rms=0.0))
    assert "1 layers at exactly 0 or not finite" in texts(depth_profile(Ledger((blank, *ledger.entries[1:]))))


def test_depth_profile_of_a_gradient_that_is_gone(ledger) -> None:
    gone = Ledger(tuple(replace(e, backward=replace(e.backward, rms=0.0)) for e in ledger.entries))
    assert "20 layers at exactly 0 or not finite" in texts(depth_profile(gone))


def test_depth_profile_needs_a_layer() -> None:
    with pytest.raises(InputError):
        depth_profile({})


def test_trials_draw_control_and_cures(verdicts) -> None:
    words = texts(trials(verdicts))
    assert "control, untouched" in words
    assert "relu: cured" in words
    assert "learning_rate ×10: harmed" in words
    assert "groupnorm" not in words


def test_trials_of_named_cures(verdicts) -> None:
    words = texts(trials(verdicts, cures=["batchnorm"]))
    assert "batchnorm" in words
    assert "relu" not in words


def test_korean_figures(ledger, verdicts) -> None:
    with language("ko"):
        assert "층" in texts(depth_profile(ledger))
        assert "손대지 않은" in texts(trials(verdicts))
        assert "도함수" in texts(curves("sigmoid"))


def test_saving(tmp_path) -> None:
    svg = curves("relu")
    assert save(svg, tmp_path / "a.svg").read_text(encoding="utf-8") == svg
    assert save(svg, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert save(svg, tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_what_cannot_be_saved(tmp_path) -> None:
    with pytest.raises(InputError, match=r"\.svg, \.png or \.pdf"):
        save(curves("relu"), tmp_path / "a.gif")
    with pytest.raises(InputError, match="no other format"):
        save(backprop(sigmoid_chain()), tmp_path / "a.png")
    with pytest.raises(OutputError, match="expected a file in a folder"):
        save(backprop(sigmoid_chain()), tmp_path / "missing" / "a.svg")


def test_the_phase_diagram_says_what_it_marks() -> None:
    svg = phase_diagram("gelu")
    words = texts(svg)
    for said in (
        "ordered",
        "critical, but the variance on it repels",
        "half-stable critical point",
        "grows without end",
    ):
        assert said in words
    description = ElementTree.fromstring(svg)[1].text or ""
    assert "half-stable critical point: σ_w² = 1.983, σ_b² = 0.173, ×1 a layer." in description
    with language("ko"):
        assert "반안정 임계점" in texts(phase_diagram("gelu"))


def test_a_phase_diagram_of_a_function_of_the_users_own() -> None:
    import torch

    assert "chaotic" in texts(phase_diagram(lambda x: torch.sin(2 * x)))
