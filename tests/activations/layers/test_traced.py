"""torch.fx writes each of our layers down as one call, and the graph computes the same."""

import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

import undertow as ut

LAYERS = {
    "pointwise": lambda: ut.activation("mish").layer(),
    "trained": lambda: ut.activation("swish").layer(trainable=True),
    "from the output": lambda: ut.activation("softplus").layer(keep="output"),
    "coupled": lambda: ut.activation("softmax").layer(),
    "with weights": lambda: ut.nn.ActivatedLinear("silu", 6, 3),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_is_one_call_of_a_graph(make):
    model, x = nn.Sequential(nn.Linear(6, 6), make()), torch.randn(4, 6)
    traced = symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1"]
    assert torch.equal(traced(x), model(x))
    assert torch.equal(model[1](input=x) if isinstance(model[1], nn.Linear) else model[1](x=x), model[1](x))
