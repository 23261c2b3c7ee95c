"""What goes in comes out."""

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.activations import Sigmoid, Swish, activation
from undertow.foundation import InputError

FLOATS = st.sampled_from(["float16", "float32", "float64"])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["sigmoid", "tanh", "relu", "elu", "swish", "prelu"]))
def test_dtype_and_shape_of_arrays_are_kept(data, name):
    dtype = data.draw(FLOATS)
    width = np.dtype(dtype).itemsize * 8
    x = data.draw(
        hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
            elements=st.floats(-100, 100, width=width),
        )
    )
    act = activation(name)
    for function in (act, act.derivative, act.second_derivative):
        y = function(x)
        assert isinstance(y, np.ndarray)
        assert (y.dtype, y.shape) == (x.dtype, x.shape)
        t = function(torch.from_numpy(x))
        assert np.array_equal(t.numpy(), y)


@given(st.floats(-1e6, 1e6))
@settings(max_examples=50, deadline=None)
def test_python_floats_are_computed_in_float64(x):
    y = Sigmoid()(x)
    assert type(y) is float
    assert y == pytest.approx(1 / (1 + math.exp(min(-x, 700))), rel=1e-14, abs=1e-300)


def test_whole_python_numbers_count_as_floats():
    assert type(Swish()(2)) is float
    assert Swish()(2) == Swish()(2.0)


def test_numpy_scalars_stay_numpy_scalars():
    for dtype in (np.float16, np.float32, np.float64):
        assert type(Sigmoid()(dtype(0.5))) is dtype


def test_numpy_views_of_any_layout_and_byte_order():
    x = np.linspace(-3, 3, 12).reshape(3, 4)
    frozen = x.copy()
    frozen.flags.writeable = False
    for view in (x[::-1, ::2], x.T, frozen, x.astype(">f8")):
        assert np.allclose(Sigmoid()(view), 1 / (1 + np.exp(-view)), rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (torch.arange(3), "int64"),
        (torch.ones(2, dtype=torch.bool), "bool"),
        (torch.ones(2, dtype=torch.cfloat), "complex64"),
        (np.arange(3), "int64"),
        (np.ones(2, dtype=np.longdouble), "float128|longdouble|float64"),
        (np.ones(2, dtype=complex), "complex128"),
        (True, "bool"),
        ("0.5", "str"),
        ([0.5], "list"),
        (None, "NoneType"),
        (1j, "complex"),
    ],
)
def test_other_kinds_are_refused_with_a_way_out(x, got):
    for function in (Sigmoid(), Sigmoid().derivative, Sigmoid().second_derivative):
        with pytest.raises(InputError, match=rf"(?s)got .*({got}).*expected .*Try: "):
            function(x)


def test_integer_tensor_names_float():
    with pytest.raises(InputError, match=r"got a tensor of int64; expected a floating point one. Try: x.float\(\)"):
        activation("relu")(torch.arange(3))


def test_a_definition_that_holds_a_parameter_takes_arrays_too():
    act = Swish(beta=torch.nn.Parameter(torch.tensor(1.5)))
    assert act(np.float64(0.7)) == pytest.approx(Swish(beta=1.5)(0.7))
