"""The backpropagation diagram: forward value, backward value and local derivative at every node."""

from __future__ import annotations

from collections.abc import Sequence

from undertow.foundation import InputError, say
from undertow.foundation.numbers import written
from undertow.probe.graph import ComputationGraph, Node
from undertow.record import Entry, Ledger
from undertow.report.figures.diagram import Card, Diagram, Wire, draw
from undertow.report.figures.split import split_text

_SIGNS = {
    "add": "+",
    "radd": "+",
    "iadd": "+",
    "sub": "−",
    "rsub": "−",
    "mul": "×",
    "rmul": "×",
    "multiply": "×",
    "div": "÷",
    "truediv": "÷",
    "rdiv": "÷",
    "sigmoid": "σ",
    "relu": "ReLU",
    "neg": "−",
    "log": "ln",
}
_SQUARE = 2.0


def backprop(
    subject: ComputationGraph | Ledger, title: str | None = None, *, first: str | int = 0, last: str | int | None = None
) -> str:
    """The chain rule ∂L/∂input = Σ ∂L/∂output · ∂output/∂input, drawn with its numbers; SVG text.

    Parameters
    ----------
    subject:
        A recorded scalar computation, or the ledger of a real model.  For a ledger the values are the root mean
        squares of the tensors and the number on an edge is the factor between two backward values.
    first, last:
        For a ledger: the names (or places on the main path) of the first and last site to draw.

    Raises
    ------
    InputError
        If the ledger has no such site, or nothing lies between the two.
    """
    if isinstance(subject, ComputationGraph):
        return draw(_of_graph(subject, title or say("figures.backprop.title")))
    return draw(_of_ledger(_slice(subject, first, last), title or say("figures.backprop.slice_title")))


def _of_graph(graph: ComputationGraph, title: str) -> Diagram:
    cards = tuple(
        Card(n.index, _label(n), n.value, n.backward, _kind(n, graph), n.name or n.operation) for n in graph.nodes
    )
    wires = tuple(Wire(e.source, e.target, e.local) for e in graph.edges)
    loss = graph.loss
    description = say(
        "figures.backprop.description",
        loss=written(loss.value, 7),
        inputs=", ".join(f"{n.name} = {written(n.value)}" for n in graph.nodes if n.name),
    )
    return Diagram(title, description, cards, wires, say("figures.local_derivative"), _chain_rule(graph))


def _chain_rule(graph: ComputationGraph) -> str:
    """∂L/∂x as the product of the local derivatives on the way back to the first input, where there is one way."""
    here, factors = graph.nodes[0], list[float]()
    while here is not graph.loss:
        edges = list(graph.out_of(here))
        if len(edges) != 1 or edges[0].local is None:
            return ""
        factors.insert(0, edges[0].local)
        here = graph.nodes[edges[0].target]
    product = " × ".join(written(f, 4) for f in factors)
    return f"∂L/∂{graph.nodes[0].name} = {product} = {written(graph.nodes[0].backward or 0.0, 7)}"


def _kind(node: Node, graph: ComputationGraph) -> str:
    return "input" if node.name else "loss" if node is graph.loss else "operation"


def _label(node: Node) -> str:
    if node.name:
        return node.name
    if node.operation == "pow" and node.constants == (_SQUARE,):
        return "( )²"
    sign = _SIGNS.get(node.operation, node.operation)
    return " ".join((sign, *(written(c) for c in node.constants)))


def _slice(ledger: Ledger, first: str | int, last: str | int | None) -> Sequence[Entry]:
    path = ledger.path
    start = _place(path, first)
    stop = len(path) - 1 if last is None else _place(path, last)
    if not path or start > stop:
        instead = f"first={path[0].site.short!r}, last={path[-1].site.short!r}" if path else "a ledger with sites"
        expected = f"two of the {len(path)} sites of the main path, in order"
        raise InputError(f"a slice from {first!r} to {last!r}", expected, instead)
    return path[start : stop + 1]


def _place(path: Sequence[Entry], site: str | int) -> int:
    if isinstance(site, int):
        return max(site + len(path), 0) if site < 0 else min(site, len(path) - 1)
    found = next((i for i, e in enumerate(path) if site in (e.site.name, e.site.short, e.site.label)), None)
    if found is None:
        names = [e.site.short for e in path]
        raise InputError(f"the site {site!r}", "a site of the ledger's main path", ", ".join(names[:6]))
    return found


def _of_ledger(entries: Sequence[Entry], title: str) -> Diagram:
    cards = tuple(
        Card(i, e.site.label, e.forward_rms, e.backward_rms, hint=f"{e.site.name} · {e.site.operation}")
        for i, e in enumerate(entries)
    )
    wires = tuple(Wire(i, i + 1, e.factor, split_text(e)) for i, e in enumerate(entries[1:]))
    description = say(
        "figures.backprop.slice_description",
        first=entries[0].site.label,
        last=entries[-1].site.label,
        start=written(entries[-1].backward_rms),
        end=written(entries[0].backward_rms),
    )
    return Diagram(title, description, cards, wires, say("figures.factor"))
