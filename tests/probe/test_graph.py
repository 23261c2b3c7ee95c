"""The recorded computation says what autograd says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undertow.foundation import InputError, LossError
from undertow.probe.graph import ComputationGraph, sigmoid_chain, tanh_network

scalars = st.floats(-2, 2).map(lambda v: round(v, 3))


def known(value: float | None) -> float:
    assert value is not None
    return value


def chain_rule_holds(graph: ComputationGraph) -> None:
    for node in graph.nodes[:-1]:
        if node.backward is not None:
            paid = sum(known(graph.nodes[e.target].backward) * known(e.local) for e in graph.out_of(node))
            assert node.backward == pytest.approx(paid, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("graph", [sigmoid_chain(), sigmoid_chain(6), tanh_network()], ids=["3", "6", "2-2-1"])
def test_the_chain_rule_holds_at_every_node(graph: ComputationGraph) -> None:
    assert graph.loss.backward == 1.0
    chain_rule_holds(graph)


@settings(max_examples=25, deadline=None)
@given(scalars, scalars, scalars)
def test_values_are_those_of_a_plain_torch_run(a: float, b: float, c: float) -> None:
    def compute(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        h = torch.tanh(a * b)
        return (h * h + a - c).sigmoid() * b  # h is read twice by one operation, a skips ahead

    graph = ComputationGraph.record(compute, a=a, b=b, c=c)
    leaves = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (a, b, c)]
    loss = compute(*leaves)
    loss.backward()
    assert graph.loss.value == loss.item()
    for name, leaf in zip("abc", leaves, strict=True):
        assert leaf.grad is not None
        assert graph[name].value == leaf.item()
        assert graph[name].backward == pytest.approx(float(leaf.grad), rel=1e-12, abs=1e-15)
    chain_rule_holds(graph)


def test_sigmoid_pays_at_most_a_quarter() -> None:
    graph = sigmoid_chain(5)
    paid = [known(e.local) for n in graph.nodes if n.operation == "sigmoid" for e in graph.into(n)]
    assert len(paid) == 5
    assert all(0 < p <= 0.25 for p in paid)


def test_a_target_takes_no_gradient() -> None:
    graph = sigmoid_chain()
    assert graph["y"].backward is None
    assert [e.local for e in graph.out_of(graph["y"])] == [None]


def test_a_detached_part_gets_no_backward_value() -> None:
    graph = ComputationGraph.record(lambda x, w: w * (x * x).detach(), x=3.0, w=2.0)
    assert graph["x"].backward is None
    assert graph["w"].backward == 9.0


def test_constants_and_unused_inputs() -> None:
    graph = ComputationGraph.record(lambda x, unused: 3 * x**2, x=2.0, unused=1.0)
    assert [n.constants for n in graph.nodes] == [(), (2.0,), (3.0,)]
    assert [n.name for n in graph.nodes] == ["x", "", ""]


@pytest.mark.parametrize(
    ("compute", "error"),
    [
        (lambda x: torch.stack([x, x]), InputError),
        (lambda x: (x * 2).add_(1), InputError),
        (lambda x: 3.0, LossError),
        (lambda x: x.detach() * 2, LossError),
        (lambda x: torch.ones((), requires_grad=True), LossError),
    ],
)
def test_what_cannot_be_recorded_is_refused(compute, error) -> None:
    with pytest.raises(error, match=r"got .*expected .*Try: "):
        ComputationGraph.record(compute, x=1.0)


def test_an_input_that_is_no_scalar_is_refused() -> None:
    with pytest.raises(InputError, match="floating-point scalar"):
        ComputationGraph.record(lambda x: x.sum(), x=torch.ones(2))
