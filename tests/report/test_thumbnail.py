"""Small pictures: light, the same bytes each time, readable on any ground."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from undertow.activations import Custom, activation, names
from undertow.report.figures import thumbnail
from undertow.report.figures.thumbnail import COLOURS, INK

SVG = "{http://www.w3.org/2000/svg}"


def test_every_function_has_one_of_a_few_kilobytes() -> None:
    for name in names():
        picture = thumbnail(activation(name))
        assert len(picture.encode()) < 25_000, name
        root = ElementTree.fromstring(picture)
        assert root[0].text == name
        assert "nan" not in picture, name
        assert "inf" not in picture, name
        assert len([p for p in root.iter(f"{SVG}path") if p.get("stroke") in COLOURS]) >= 1


def test_the_same_bytes_each_time() -> None:
    assert thumbnail(activation("gelu")) == thumbnail(activation("gelu"))


def test_a_jump_of_the_slope_is_a_gap_and_a_straight_line_two_points() -> None:
    root = ElementTree.fromstring(thumbnail(activation("relu")))
    slope = next(p.get("d") for p in root.iter(f"{SVG}path") if p.get("stroke") == COLOURS[1])
    assert slope is not None
    assert slope.count("M") == 2
    assert slope.count("L") == 2


def test_simplified_to_a_tenth_of_a_pixel() -> None:
    exact = thumbnail(Custom("f", lambda x: x.sin()))
    d = next(p.get("d") for p in ElementTree.fromstring(exact).iter(f"{SVG}path") if p.get("stroke") == COLOURS[0])
    assert d is not None
    assert 20 < d.count("L") < 120


@pytest.mark.parametrize("ground", ["#ffffff", "#0d1117"])
def test_contrast_on_light_and_dark(ground: str) -> None:
    for colour in (*COLOURS, INK):
        assert contrast(colour, ground) >= 3, colour


def contrast(a: str, b: str) -> float:
    """The contrast of WCAG 2.1, 1.4.3."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
