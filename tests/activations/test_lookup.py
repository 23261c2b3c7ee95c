"""Names, aliases, presets, parameters and their errors; the decorator."""

import pytest
import torch

from undertow.activations import ELU, ReLU, Sigmoid, Swish, activation, names
from undertow.activations.base import Pointwise
from undertow.activations.base import activation as define
from undertow.foundation import InputError, UnknownNameError


def test_the_article_is_complete():
    assert set(names()) >= {"sigmoid", "tanh", "relu", "swish", "leaky_relu", "prelu", "elu", "frelu", "softmax"}


def test_spelling_and_aliases():
    assert activation("Leaky-ReLU") == activation("leakyrelu") == activation("lrelu")
    assert activation("logistic") == Sigmoid()
    assert activation("linear").name == "identity"


def test_parameters():
    assert activation("swish", beta=1.5) == Swish(beta=1.5) != Swish()
    assert activation("silu", beta=2.0) == Swish(beta=2.0)
    assert activation(Swish(beta=3.0)) == Swish(beta=3.0)
    assert activation(Swish(beta=3.0), beta=4.0) == Swish(beta=4.0)
    assert (Swish(beta=1.5).label, Swish().label, ELU(alpha=2).label) == ("swish(beta=1.5)", "swish", "elu(alpha=2)")


def test_unknown_name_has_the_nearest():
    with pytest.raises(UnknownNameError, match=r"'sigmod'.*Try: 'sigmoid'.*undertow activations list"):
        activation("sigmod")


def test_unknown_parameter_says_which_there_are():
    with pytest.raises(
        InputError, match=r"'gamma' for 'swish'; expected one of beta. Try: activation\('swish', beta=1.0\)"
    ):
        activation("swish", gamma=1.0)
    with pytest.raises(InputError, match="relu has none"):
        activation("relu", slope=0.1)


@pytest.mark.parametrize("value", ["1", None, float("nan"), float("inf"), True, torch.tensor(1)])
def test_wrong_parameter_value(value):
    with pytest.raises(InputError, match="finite number"):
        Swish(beta=value)


def test_not_a_name():
    with pytest.raises(InputError, match="the name of an activation"):
        activation(3)


def test_a_definition_needs_a_docstring():
    with pytest.raises(TypeError, match="docstring"):

        @define("undocumented")
        class Undocumented(Pointwise):
            def f(self, x):
                return x

    assert "undocumented" not in names()


def test_a_name_can_be_taken_once():
    with pytest.raises(ValueError, match="two activations named 'relu'"):

        @define("relu")
        class Again(Pointwise):
            """f(x) = x"""

            def f(self, x):
                return x


def test_instances_with_tensors_are_never_compared():
    beta = torch.tensor([1.0, 2.0])
    a, b = Swish(beta=beta), Swish(beta=beta.clone())
    assert a == a
    assert a != b
    assert a != ReLU()
    assert len({a, b}) == 2
