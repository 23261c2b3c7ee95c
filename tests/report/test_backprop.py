"""The diagram's numbers are autograd's, and its texts can be read."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest
import torch

from undertow.foundation import InputError, language
from undertow.probe.graph import ComputationGraph, sigmoid_chain, tanh_network
from undertow.report.figures.backprop import backprop
from undertow.report.figures.diagram import BOX_HEIGHT, CHARACTER

SVG = "{http://www.w3.org/2000/svg}"


def skip() -> ComputationGraph:
    def compute(x, w, v):
        h = torch.tanh(w * x)
        return (h * v + x + h * h).sigmoid().log()

    return ComputationGraph.record(compute, x=0.3, w=2.0, v=-1.0)


GRAPHS = {"chain": sigmoid_chain(), "long": sigmoid_chain(7), "network": tanh_network(), "skip": skip()}


def at(element: ElementTree.Element, attribute: str) -> float:
    return float(element.attrib[attribute])


def numbers(svg: str) -> dict[tuple[str, ...], float]:
    """Every printed number by where it stands: ("forward", node), ("backward", node), ("local", source, target)."""
    found: dict[tuple[str, ...], float] = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        place = tuple(group.attrib[k] for k in ("data-node", "data-source", "data-target") if k in group.attrib)
        for text in group.findall(f"{SVG}text"):
            if text.get("data-value"):
                printed = float(text.text or "")
                assert printed == pytest.approx(at(text, "data-value"), rel=1e-6)
                found[(text.get("class", ""), *place)] = printed
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_numbers_equal_autograd(name: str) -> None:
    graph, found = GRAPHS[name], numbers(backprop(GRAPHS[name]))
    for node in graph.nodes:
        assert found.pop(("forward", str(node.index))) == pytest.approx(node.value, rel=1e-6)
        if node.backward is not None:
            assert found.pop(("backward", str(node.index))) == pytest.approx(node.backward, rel=1e-6)
    for edge in graph.edges:
        if edge.local is not None:
            assert found.pop(("local", str(edge.source), str(edge.target))) == pytest.approx(edge.local, rel=1e-6)
    assert not found


def test_numbers_equal_a_plain_run_of_autograd() -> None:
    values = {"x": 1.0, "w1": 0.8, "b1": 0.1, "w2": -1.2, "b2": -0.2, "w3": 1.5, "b3": 0.05}
    leaf = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in values.items()}
    a = leaf["x"]
    for k in (1, 2, 3):
        a = torch.sigmoid(leaf[f"w{k}"] * a + leaf[f"b{k}"])
    ((a - 1.0) ** 2).backward()
    graph = sigmoid_chain()
    found = numbers(backprop(graph))
    for name, tensor in leaf.items():
        assert tensor.grad is not None
        assert found["backward", str(graph[name].index)] == pytest.approx(float(tensor.grad), rel=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
def test_no_two_texts_overlap(name: str) -> None:
    boxes = []
    for group in ElementTree.fromstring(backprop(GRAPHS[name])).iter(f"{SVG}g"):
        boxes += [
            (at(t, "x"), at(t, "y") - 4, CHARACTER * 0.95 * len(t.text or ""), 11.0)
            for t in group.findall(f"{SVG}text")
            if t.get("data-value")
        ]
        if group.get("data-node"):
            boxes += [
                (at(r, "x") + at(r, "width") / 2, at(r, "y") + BOX_HEIGHT / 2, at(r, "width"), BOX_HEIGHT)
                for r in group.findall(f"{SVG}rect")
            ]
    for (x, y, w, h), (u, v, s, t) in itertools.combinations(boxes, 2):
        assert abs(x - u) * 2 >= w + s or abs(y - v) * 2 >= h + t


@pytest.mark.parametrize("code", ["en", "ko"])
def test_words_come_from_the_catalogue(code: str) -> None:
    with language(code):
        svg = backprop(sigmoid_chain())
    assert ("순전파 값" in svg) == (code == "ko")
    assert ("forward value" in svg) == (code == "en")
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text
    assert root[1].tag == f"{SVG}desc"
    assert not [e for e in root.iter() if e.get("id")], "without ids nothing can clash in a page"


def test_the_chain_rule_is_written_out() -> None:
    svg = backprop(sigmoid_chain())
    assert "∂L/∂x = −0.7845 × 1 × 0.2384 × 1 × 1.5" in svg


def test_a_slice_of_a_model(ledger) -> None:
    svg = backprop(ledger, first="layers.4", last="layers.7")
    found = numbers(svg)
    entries = [ledger[f"layers.{i}#0"] for i in range(4, 8)]
    for i, entry in enumerate(entries):
        assert found["backward", str(i)] == pytest.approx(entry.backward_rms, rel=1e-6)
        assert found["forward", str(i)] == pytest.approx(entry.forward_rms, rel=1e-6)
    for i, entry in enumerate(entries[1:]):
        assert found["local", str(i), str(i + 1)] == pytest.approx(entry.factor, rel=1e-6)
        assert entries[i].backward_rms == pytest.approx(entry.backward_rms * found["local", str(i), str(i + 1)])


@pytest.mark.parametrize(("first", "last"), [("layers.7", "layers.4"), ("nowhere", None)])
def test_a_slice_that_is_none(ledger, first, last) -> None:
    with pytest.raises(InputError, match="Try: "):
        backprop(ledger, first=first, last=last)
