"""SVG text that may stand in a page beside others: described, without metadata, global styles or clashing ids."""

from __future__ import annotations

import re
from xml.etree import ElementTree

Element = ElementTree.Element
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
FONTS = (
    "system-ui, -apple-system, 'Segoe UI', Pretendard, 'Apple SD Gothic Neo', 'Noto Sans KR', "
    "'Noto Sans CJK KR', 'Malgun Gothic', 'DejaVu Sans', sans-serif"
)
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def root(width: float, height: float, title: str, description: str, ground: bool = True) -> Element:
    """An empty picture, on a white ground unless its colours read on a dark page too."""
    picture = Element(
        f"{{{SVG}}}svg",
        {
            "viewBox": f"0 0 {width:g} {height:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
            "font-family": FONTS,
            "font-size": "12",
        },
    )
    describe(picture, title, description)
    if ground:
        add(picture, "rect", width=width, height=height, fill="#ffffff")
    return picture


def add(parent: Element, tag: str, text: str | None = None, **attributes: object) -> Element:
    """A child; `_` in an attribute's name stands for `-`, numbers are written with up to two decimals."""
    found = {
        k.rstrip("_").replace("_", "-"): f"{round(v, 2):g}" if isinstance(v, float) else str(v)
        for k, v in attributes.items()
    }
    child = ElementTree.SubElement(parent, f"{{{SVG}}}{tag}", found)
    child.text = text
    return child


def describe(picture: Element, title: str, description: str) -> None:
    """Give the picture its role, its title and its description, which a screen reader says instead of the parts."""
    picture.set("role", "img")
    picture.set("aria-label", title)
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        child = Element(f"{{{SVG}}}{tag}")
        child.text = text
        picture.insert(place, child)


def text_of(picture: Element) -> str:
    return ElementTree.tostring(picture, encoding="unicode")


def parse(svg: str) -> Element:
    return ElementTree.fromstring(svg)


def isolated(svg: str, prefix: str) -> str:
    """The picture with every id, and every reference to one, prefixed."""
    picture = parse(svg)
    ids = {e.get("id") for e in picture.iter() if e.get("id")}

    def renamed(match: re.Match[str]) -> str:
        return f"#{prefix}{match[1]}" if match[1] in ids else match[0]

    for element in picture.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, prefix + value)
            elif "#" in value:
                element.set(key, re.sub(r"#([\w.-]+)", renamed, value))
    return text_of(picture)
