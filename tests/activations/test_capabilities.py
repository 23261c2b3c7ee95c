"""Every registered definition under every transform: the table of `docs/capabilities.md` is full."""

import capability_checks
import pytest
import torch

from undertow.activations import names

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),  # torch's own forward mode
    pytest.mark.filterwarnings("ignore:.class 'torch.autograd.function.Function'. should not:DeprecationWarning"),
]
HOT = (
    "relu",
    "sigmoid",
    "tanh",
    "swish",
    "gelu",
    "gelu_tanh",
    "mish",
    "softplus",
    "elu",
    "hardswish",
    "swiglu",
    "softmax",
)


@pytest.mark.parametrize("capability", capability_checks.CHECKS)
def test_every_definition_is_capable_of(capability):
    assert capability_checks.failures(capability_checks.CHECKS[capability]) == {}


SUBJECTS = capability_checks.subjects()


@pytest.mark.parametrize(
    "subjects",
    [[s for s in SUBJECTS if s.name in HOT], pytest.param(SUBJECTS, marks=pytest.mark.slow)],
    ids=["hot", "all"],
)
def test_definitions_compile_into_one_graph(subjects):
    assert capability_checks.compiles(subjects) == {}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of the exporter's own code
@pytest.mark.parametrize("chosen", [HOT, pytest.param(names(), marks=pytest.mark.slow)], ids=["hot", "all"])
def test_definitions_export_to_standard_onnx(chosen):
    assert capability_checks.exports([capability_checks.Subject(name) for name in chosen]) == {}


@pytest.mark.slow
def test_hot_functions_compile_with_inductor():
    hot = [capability_checks.Subject(name) for name in HOT]
    assert capability_checks.compiles(hot, backend="inductor") == {}


def test_all_names_are_among_the_subjects():
    assert {s.name for s in capability_checks.subjects()} >= {*names(), "prelu, trained"}


class Square(torch.autograd.Function):
    """x², by a backward pass that nothing can be asked of."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x, x.clone(), x.clone())
        return x.contiguous() ** 2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


class Bare:
    """A function in the place of a definition, with nothing of what makes one."""

    kinks = ()

    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x)


def lacking(function):
    subject = capability_checks.Subject("lacking")
    subject.__dict__["act"] = Bare(function)
    return subject


@pytest.mark.parametrize(
    "capability",
    ["double backward", "third derivative", "forward mode", "forward over reverse", "vmap", "vmap of grad", "lean"],
)
def test_a_check_fails_where_the_capability_is_missing(capability):
    with pytest.raises((AssertionError, RuntimeError)):
        capability_checks.CHECKS[capability](lacking(Square.apply))


@pytest.mark.parametrize("capability", ["backward", "forward mode"])
def test_a_check_fails_where_the_numbers_are_wrong(capability):
    with pytest.raises(AssertionError):
        capability_checks.CHECKS[capability](lacking(lambda x: x.detach().sin() + 0.9 * x - 0.9 * x.detach()))
