"""What every registered definition can do under torch's transforms, one check a capability.

A check raises where a definition can't.  `test_capabilities.py` asserts the whole table, and `tools/capabilities.py`
writes it into `docs/`.  Truth is a central difference of what the check before it has shown to be right.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from undertow.activations import Activation, Pointwise, activation, names
from undertow.foundation import InputError

STEP = 1e-5
"""Of central differences in float64: the error is STEP² f‴/6 and 1e-16 · |f| / STEP."""
CLEAR = 0.05
"""Points keep this distance from kinks."""


@dataclass(frozen=True)
class Subject:
    """One definition, with an input that it takes; `trained`: with its parameters as tensors that are trained."""

    definition: str
    trained: bool = False

    @property
    def name(self) -> str:
        return f"{self.definition}, trained" if self.trained else self.definition

    @cached_property
    def act(self) -> Activation:
        if self.trained:
            return activation(self.definition).layer(trainable=True).definition
        if self.name == "frelu":
            generator = torch.Generator().manual_seed(1)
            window = torch.randn(3, 1, 3, 3, generator=generator, dtype=torch.float64)
            return activation("frelu", window=window, bias=torch.zeros(3, dtype=torch.float64))
        return activation(self.definition)

    @property
    def pointwise(self) -> bool:
        return isinstance(self.act, Pointwise)

    @property
    def x(self) -> Tensor:
        """float64; of an even number of columns, since gated units halve it."""
        generator = torch.Generator().manual_seed(0)
        shape = (2, 3, 4, 4) if self.name == "frelu" else (4, 12)
        x = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
        for kink in self.act.kinks:
            x = torch.where((x - kink).abs() < CLEAR, kink + 2 * CLEAR, x)
        return x

    def direction(self, like: Tensor) -> Tensor:
        return torch.arange(1, like.numel() + 1, dtype=like.dtype).mul(0.7).cos().reshape(like.shape)

    def total(self, x: Tensor) -> Tensor:
        """A number: the outputs, each with a weight of its own."""
        y = self.act(x)
        return (y * self.direction(y)).sum()


def subjects() -> list[Subject]:
    """Every definition, and those that layers train also with trained parameters.

    Presets are the same code with other numbers.
    """
    learned = [name for name in names() if activation(name).learned]
    return [Subject(name) for name in names()] + [Subject(name, trained=True) for name in ("swish", *learned)]


def close(got: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def difference(function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> Tensor:
    return (function(x + STEP * v) - function(x - STEP * v)) / (2 * STEP)


def gradient(subject: Subject) -> Callable[[Tensor], Tensor]:
    def grad(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(subject.total(x), x)[0]

    return grad


def bent(subject: Subject, v: Tensor) -> Callable[[Tensor], Tensor]:
    """The Hessian times v, by two backward passes."""

    def product(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(subject.total(x), x, create_graph=True)
        return along(g, v, x)

    return product


def along(g: Tensor, v: Tensor, x: Tensor, again: bool = False) -> Tensor:
    """The gradient of g · v; zeros where g doesn't depend on x, as for a piecewise linear function."""
    if not g.requires_grad:
        return torch.zeros_like(x)
    return torch.autograd.grad((g * v).sum(), x, create_graph=again, allow_unused=True, materialize_grads=True)[0]


def backward(s: Subject) -> None:
    v = s.direction(s.x)
    close((gradient(s)(s.x) * v).sum(), difference(s.total, s.x, v), 1e-7)


def double_backward(s: Subject) -> None:
    v = s.direction(s.x)
    close(bent(s, v)(s.x), difference(gradient(s), s.x, v), 1e-6)


def third_derivative(s: Subject) -> None:
    double_backward(s)  # whose product is differenced here
    v, x = s.direction(s.x), s.x.requires_grad_()
    (g,) = torch.autograd.grad(s.total(x), x, create_graph=True)
    close(along(along(g, v, x, again=True), v, x), difference(bent(s, v), s.x, v), 1e-5)


def forward_mode(s: Subject) -> None:
    v = s.direction(s.x)
    expected = difference(s.act, s.x, v)
    close(torch.func.jvp(s.act, (s.x,), (v,))[1], expected, 1e-6)
    with forward_ad.dual_level():
        close(forward_ad.unpack_dual(s.act(forward_ad.make_dual(s.x, v))).tangent, expected, 1e-6)


def forward_over_reverse(s: Subject) -> None:
    v = s.direction(s.x)
    close(torch.func.jvp(torch.func.grad(s.total), (s.x,), (v,))[1], bent(s, v)(s.x), 1e-12)


def vmap(s: Subject) -> None:
    x = s.x.float()
    close(torch.func.vmap(s.act)(torch.stack([x, -x])), torch.stack([s.act(x), s.act(-x)]), 1e-6)


def per_sample_gradients(s: Subject) -> None:
    xs = torch.stack([s.x, 0.5 * s.x])
    close(torch.func.vmap(torch.func.grad(s.total))(xs), torch.stack([gradient(s)(x) for x in xs]), 1e-12)


def autocast(s: Subject) -> None:
    x = s.x.float()
    first, last = nn.Linear(x.shape[-1], x.shape[-1]), nn.Linear(s.act(x).shape[-1], 2)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = first(x)
        y = s.act(hidden)
        assert y.dtype == hidden.dtype == torch.bfloat16, f"{hidden.dtype} became {y.dtype}"
        last(y).sum().backward()
    assert first.weight.grad is not None
    assert first.weight.grad.isfinite().all()
    if s.name != "frelu":  # a convolution is computed in bfloat16 there, as autocast says
        close(y.float(), s.act(hidden.float()).detach(), 2**-7)


def refuses_complex(s: Subject) -> None:
    for wrong in (s.x.to(torch.complex128), s.x.to(torch.int64), s.x > 0):
        with pytest.raises(InputError):
            s.act(wrong)


def sixteen_bits(s: Subject) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        x = s.x.to(dtype).requires_grad_()
        y = s.act(x)
        y.float().sum().backward()
        exact = x.detach().double().requires_grad_()
        true = s.act(exact)
        true.sum().backward()
        half = torch.finfo(dtype).eps / 2 * 1.02
        assert y.dtype == x.grad.dtype == dtype
        torch.testing.assert_close(y.double(), true, rtol=half, atol=torch.finfo(dtype).smallest_normal)
        if s.pointwise:
            torch.testing.assert_close(x.grad.double(), exact.grad, rtol=half, atol=torch.finfo(dtype).smallest_normal)
        else:  # what is summed over a vector cancels
            close(x.grad.double(), exact.grad, 4 * torch.finfo(dtype).eps)


def any_layout(s: Subject) -> None:
    x = s.x.float()
    gaps = torch.stack([x, x], -1)[..., 0]
    assert torch.equal(s.act(gaps), s.act(x))
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(s.act(turned), s.act(x))
    image = torch.arange(96.0).div(48).sub(1).reshape(2, 3, 4, 4)
    last = image.contiguous(memory_format=torch.channels_last)
    assert torch.equal(s.act(last), s.act(image))
    if s.pointwise:
        assert s.act(turned).stride() == turned.stride()
        assert s.act(last).is_contiguous(memory_format=torch.channels_last)
        leaf = last.clone().requires_grad_()
        s.act(leaf).sum().backward()
        assert leaf.grad.is_contiguous(memory_format=torch.channels_last)


def empty_and_single(s: Subject) -> None:
    assert s.act(s.x[:0]).shape[0] == 0
    if s.pointwise:
        assert s.act(torch.tensor(0.5)).shape == ()
    leaf = s.x[:0].requires_grad_()
    s.act(leaf).sum().backward()
    assert leaf.grad.shape == leaf.shape


def shapes_without_values(s: Subject) -> None:
    y = s.act(s.x.to("meta"))
    assert y.is_meta
    assert y.shape == s.act(s.x).shape


def pickles(s: Subject) -> None:
    again = [pickle.loads(pickle.dumps(s.act)), copy.deepcopy(s.act)]
    layer = s.act.layer(channels=3) if s.name == "frelu" else s.act.layer()
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    for twin in again:
        assert torch.equal(twin(s.x), s.act(s.x))
    x = s.x.float()
    for module in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), torch.load(buffer, weights_only=False)):
        assert torch.equal(module.eval()(x), layer.eval()(x))
        module.load_state_dict(layer.state_dict())


def held_for_backward(s: Subject) -> float:
    """Bytes for each element of a float32 input, which counts itself: a linear layer before makes it anew.

    Parameters are kept by whoever trains them.
    """
    x = s.x.float().requires_grad_()
    own = {t.untyped_storage().data_ptr() for t in s.act.tensors.values()} if s.trained else set()
    held: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        s.act(x * 1.0)
    return sum(held.values()) / x.numel()


def lean(s: Subject) -> None:
    bytes_held = held_for_backward(s)
    most = 8.0 if s.definition == "frelu" else 4.0  # its window sees the neighbours: the input and a choice for each
    assert bytes_held <= most, f"{bytes_held:g} bytes for each element"


class Every(nn.Module):
    """All definitions side by side, of one row of numbers and one image."""

    def __init__(self, chosen: list[Subject]) -> None:
        super().__init__()
        self.acts = [(s.name, s.act) for s in chosen]

    def forward(self, row: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(act(image if name == "frelu" else row) for name, act in self.acts)


def row_and_image() -> tuple[Tensor, Tensor]:
    row = torch.linspace(-12, 12, 480).reshape(4, 120)
    return row, torch.linspace(-2, 2, 96).reshape(2, 3, 4, 4)


def compiles(chosen: list[Subject], backend: str = "aot_eager") -> dict[str, str]:
    """What goes wrong in one graph without breaks, forward and backward."""
    model, leaves = Every(chosen), [x.requires_grad_() for x in row_and_image()]
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    expected, got = model(*leaves), compiled(*leaves)
    wrong = {}
    for s, mine, theirs in zip(chosen, expected, got, strict=True):
        leaf = leaves[s.name == "frelu"]
        try:
            torch.testing.assert_close(theirs, mine, rtol=1e-5, atol=1e-7)
            pulled = [torch.autograd.grad(y.sum(), leaf, retain_graph=True)[0] for y in (theirs, mine)]
            torch.testing.assert_close(*pulled, rtol=1e-5, atol=1e-6)
        except AssertionError as error:
            wrong[s.name] = str(error)[:300]
    return wrong


def exports(chosen: list[Subject]) -> dict[str, str]:
    """What differs when onnxruntime runs the model that torch exports, in standard operators alone."""
    import onnxruntime

    inputs = row_and_image()
    # onnxscript's optimizer (0.7.2) loses an output where many functions share an input
    program = torch.onnx.export(Every(chosen).eval(), inputs, dynamo=True, verbose=False, optimize=False)
    assert program is not None
    domains = {node.domain for node in program.model.graph} | {f.domain for f in program.model.functions}
    assert domains <= {""}, domains
    run = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    outputs = run.run(None, {i.name: x.numpy() for i, x in zip(run.get_inputs(), inputs, strict=True)})
    wrong = {}
    for s, mine, theirs in zip(chosen, Every(chosen)(*inputs), outputs, strict=True):
        try:
            scale = max(
                1.0, mine.abs().max().item()
            )  # onnxruntime's Sigmoid and 1 − Erf are right to 1e-7, not 1e-7 · σ
            torch.testing.assert_close(torch.from_numpy(theirs), mine, rtol=1e-5, atol=2e-6 * scale)
        except AssertionError as error:
            wrong[s.name] = str(error)[:300]
    return wrong


CHECKS: dict[str, Callable[[Subject], None]] = {
    "backward": backward,
    "double backward": double_backward,
    "third derivative": third_derivative,
    "forward mode": forward_mode,
    "forward over reverse": forward_over_reverse,
    "vmap": vmap,
    "vmap of grad": per_sample_gradients,
    "autocast": autocast,
    "complex, integer refused": refuses_complex,
    "float16, bfloat16": sixteen_bits,
    "any layout": any_layout,
    "empty, single": empty_and_single,
    "meta": shapes_without_values,
    "pickle, deepcopy": pickles,
    "lean": lean,
}


def failures(check: Callable[[Subject], None]) -> dict[str, str]:
    """What went wrong, by the name of the definition."""
    wrong = {}
    for subject in subjects():
        try:
            check(subject)
        except Exception as error:  # any: the table says which
            wrong[subject.name] = f"{type(error).__name__}: {str(error).strip()[:300]}"
    return wrong


def table() -> dict[str, dict[str, str]]:
    """What each definition fails at, for each capability; empty where it fails at nothing."""
    chosen = subjects()
    found = {capability: failures(check) for capability, check in CHECKS.items()}
    return found | {"compile": compiles(chosen), "ONNX": exports(chosen)}
