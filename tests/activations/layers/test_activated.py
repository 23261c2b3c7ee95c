"""ActivatedLinear and ActivatedConv: the plain pair's numbers to the last bit, with half the memory."""

import copy
import pickle

import pytest
import torch
from lean_pairs import CONVS, gradients, kept_bytes, same, twins
from torch import nn
from torch.utils.checkpoint import checkpoint

import undertow as ut
from undertow.activations import PReLU, Swish
from undertow.foundation import InputError

ACTIVATIONS = {
    "silu": lambda: ut.activation("silu").layer(),
    "swish, trained": lambda: Swish(beta=1.3).layer(trainable=True),
    "prelu": lambda: PReLU().layer(),
    "tanh": lambda: ut.activation("tanh").layer(),
    "relu": lambda: ut.activation("relu").layer(),
    "torch silu": nn.SiLU,
    "torch gelu": lambda: nn.GELU("tanh"),
    "torch mish": nn.Mish,
    "torch softplus": lambda: nn.Softplus(2.0, 5.0),
    "torch elu": lambda: nn.ELU(0.5),
    "torch selu": nn.SELU,
    "torch celu": lambda: nn.CELU(0.5),
    "torch hardswish": nn.Hardswish,
    "torch hardsigmoid": nn.Hardsigmoid,
    "torch hardtanh": lambda: nn.Hardtanh(-0.3, 0.7),
    "torch leaky_relu": lambda: nn.LeakyReLU(0.2),
    "torch prelu": nn.PReLU,
    "torch logsigmoid": nn.LogSigmoid,
    "torch softshrink": lambda: nn.Softshrink(0.2),
    "torch hardshrink": lambda: nn.Hardshrink(0.2),
    "torch tanh": nn.Tanh,
}
SHAPES = ((7,), (5, 7), (1, 7), (0, 7), (2, 3, 7), (2, 1, 3, 7))


def pair(act, dtype=torch.float32, **settings):
    plain = nn.Sequential(act(), nn.Linear(7, 4, **settings)).to(dtype)
    return twins(plain, ut.nn.ActivatedLinear(act(), 7, 4, **settings).to(dtype))


@pytest.mark.parametrize("act", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_gradients_are_the_pairs_to_the_last_bit(act):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        plain, lean = pair(act, dtype)
        for shape in SHAPES:
            x = torch.randn(shape).to(dtype)
            assert same(gradients(lean, x), gradients(plain, x)), (dtype, shape)
        x = torch.randn(8, 14).to(dtype)[:, ::2]  # not contiguous
        assert same(gradients(lean, x), gradients(plain, x))


@pytest.mark.parametrize("act", ["silu", "swish, trained", "torch silu", "torch softplus"])
def test_under_autocast(act):
    plain, lean = pair(ACTIVATIONS[act])
    for shape in ((64, 7), (2, 3, 7)):
        for x in (torch.randn(shape), torch.randn(shape).bfloat16()):
            assert same(gradients(lean, x, autocast=True), gradients(plain, x, autocast=True))
    x = torch.randn(64, 7, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert kept_bytes(lean(x)) < kept_bytes(plain(x))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("settings", [{}, {"padding": 1, "padding_mode": "circular"}, {"stride": 2, "groups": 2}])
def test_convolutions(dims, settings):
    plain = nn.Sequential(nn.SiLU(), CONVS[dims](4, 6, 3, **settings))
    lean = getattr(ut.nn, f"ActivatedConv{dims}d")(nn.SiLU(), 4, 6, 3, **settings)
    twins(plain, lean)
    x = torch.randn(2, 4, *(5,) * dims)
    assert same(gradients(lean, x), gradients(plain, x))
    assert same(gradients(lean, x, autocast=True), gradients(plain, x, autocast=True))
    if dims == 2:
        last = x.to(memory_format=torch.channels_last)
        assert same(gradients(lean, last), gradients(plain, last))


@pytest.mark.parametrize("act", ["silu", "swish, trained", "torch gelu", "torch mish"])
def test_half_the_bytes_are_kept(act):
    plain, lean = pair(ACTIVATIONS[act])
    x = torch.randn(64, 7, requires_grad=True)
    tensor = 64 * 7 * 4
    assert kept_bytes(lean(x), lean) == tensor
    if act != "swish, trained":
        assert kept_bytes(plain(x), plain) == 2 * tensor


def test_nothing_is_kept_twice_over_in_a_deep_net():
    x = torch.randn(64, 32)
    lean = nn.Sequential(nn.Linear(32, 32), *(ut.nn.ActivatedLinear("silu", 32, 32) for _ in range(6)))
    plain = nn.Sequential(nn.Linear(32, 32), *(m for _ in range(6) for m in (nn.SiLU(), nn.Linear(32, 32))))
    held = kept_bytes(lean(x), lean) - x.nbytes, kept_bytes(plain(x), plain) - x.nbytes
    assert held == (6 * x.nbytes, 12 * x.nbytes)


def test_second_derivatives_and_a_graph_that_is_kept():
    plain, lean = pair(ACTIVATIONS["silu"], torch.float64)
    x = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    results = []
    for model in (lean, plain):
        y = model(x * 1).sin().sum()
        first = torch.autograd.grad(y, (x, *model.parameters()), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (x, *model.parameters()), retain_graph=True)
        again = torch.autograd.grad(y, (x, *model.parameters()), retain_graph=True)
        assert same([g.detach() for g in first], list(again))
        results.append([*(g.detach() for g in first), *second])
    assert all(torch.allclose(a, b, rtol=1e-13, atol=1e-15) for a, b in zip(*results, strict=True))
    weight, bias = lean.weight, lean.bias

    def run(x, w, b):
        return torch.func.functional_call(lean, {"weight": w, "bias": b}, (x * 1,))

    assert torch.autograd.gradcheck(run, (x, weight, bias))
    assert torch.autograd.gradgradcheck(run, (x, weight, bias))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch itself, in its forward mode
def test_function_transforms_and_forward_mode():
    plain, lean = pair(ACTIVATIONS["silu"])
    x = torch.randn(5, 7)
    for transform in (torch.func.vmap, lambda f: torch.func.grad(lambda x: f(x).sum()), torch.func.jacrev):
        assert torch.equal(transform(lean)(x), transform(plain)(x))
    tangents = [torch.func.jvp(m, (x,), (torch.ones_like(x),))[1] for m in (lean, plain)]
    assert torch.equal(*tangents)

    def per_sample(model):
        loss = torch.func.grad(lambda p, x: torch.func.functional_call(model, p, x).square().sum())
        return torch.func.vmap(loss, (None, 0))(dict(model.named_parameters()), x)

    ours, theirs = per_sample(lean), per_sample(plain)
    assert torch.equal(ours["weight"], theirs["1.weight"])


def test_a_changed_input_is_refused_as_torch_does():
    lean = ut.nn.ActivatedLinear(nn.SiLU(), 7, 4)
    for change in ("input", "weight"):
        x = torch.randn(3, 7, requires_grad=True) * 1
        y = lean(x)
        with torch.no_grad():
            (x if change == "input" else lean.weight).add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
    y = lean(torch.randn(3, 7, requires_grad=True) * 1).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()


def test_in_place_activations_are_kept_as_they_are():
    plain = nn.Sequential(nn.SiLU(inplace=True), nn.Linear(7, 4))
    lean = ut.nn.ActivatedLinear.from_linear(nn.SiLU(inplace=True), plain[1])
    x = torch.randn(3, 7)
    theirs = gradients(plain, x)
    assert same(gradients(lean, x), theirs)


def test_others_who_pack_saved_tensors_still_do():
    """Checkpoints and offloads hand a saved tensor back once only; there the layer is the plain pair."""
    _, lean = pair(ACTIVATIONS["torch silu"])
    block = nn.Sequential(nn.Linear(7, 7), lean)
    x = torch.randn(50, 7)
    expected = gradients(block, x)

    class Checkpointed(nn.Sequential):
        def forward(self, x):
            return checkpoint(super().forward, x, use_reentrant=False)

    assert same(gradients(Checkpointed(*block), x), expected)
    with torch.autograd.graph.save_on_cpu():
        assert same(gradients(block, x), expected)
    with torch.autograd.graph.disable_saved_tensors_hooks("none here"):
        assert same(gradients(block, x), expected)


def test_who_counts_saved_tensors_sees_half_of_them():
    plain, lean = pair(ACTIVATIONS["silu"])
    x, counted = torch.randn(64, 7, requires_grad=True), []
    results = []
    for model in (plain, lean):
        packed = {}

        def pack(t, packed=packed):
            packed[t.untyped_storage().data_ptr()] = t
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            results.append(gradients(model, x))
            packed.clear()
            y = model(x)
        counted.append(sorted(t.untyped_storage().nbytes() for t in packed.values()))
        del y
    weight = 7 * 4 * 4
    assert counted == [[weight, x.nbytes, x.nbytes], [weight, x.nbytes]]
    assert same(*results)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit and of Function, by dynamo itself
@pytest.mark.parametrize("act", ["silu", "torch gelu"])
def test_compiled_in_one_graph_that_keeps_as_little(act):
    plain, lean = pair(ACTIVATIONS[act])
    x = torch.randn(16, 7)
    expected = gradients(plain, x)
    x = x.requires_grad_()
    y = torch.compile(lean, fullgraph=True, backend="aot_eager_decomp_partition")(x)
    assert kept_bytes(y, lean) == x.nbytes
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
    for ours, theirs in zip([y, x.grad, lean.weight.grad, lean.bias.grad], expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_state_and_parameters_are_those_of_linear():
    linear = nn.Linear(7, 4)
    lean = ut.nn.ActivatedLinear.from_linear("silu", linear)
    assert lean.weight is linear.weight
    assert list(lean.state_dict()) == ["weight", "bias"]
    assert "activation" not in dict(linear.named_children())
    assert [n for n, _ in ut.nn.ActivatedLinear("prelu", 7, 4).named_parameters()] == [
        "weight",
        "bias",
        "activation.slope",
    ]
    x = torch.randn(3, 7)
    for other in (copy.deepcopy(lean), pickle.loads(pickle.dumps(lean))):
        assert torch.equal(other(x), lean(x))
    conv = nn.Conv2d(3, 5, 3, padding=1)
    assert ut.nn.ActivatedConv2d.from_conv("silu", conv).weight is conv.weight


def test_what_is_refused():
    with pytest.raises(InputError, match="type int"):
        ut.nn.ActivatedLinear(3, 7, 4)
    with pytest.raises(InputError, match="Conv2d"):
        ut.nn.ActivatedLinear.from_linear("silu", nn.Conv2d(3, 3, 3))
    with pytest.raises(LookupError, match="silu"):
        ut.nn.ActivatedLinear("sillu", 7, 4)
