"""Which activations go to a kernel on a GPU; the kernels themselves are tested in `tests/native/test_triton.py`."""

import pytest
import torch

from undertow.activations import Custom, activation, gpu


@pytest.fixture
def launched(monkeypatch):
    """Every tensor counts as one on a GPU; a launch gives back what it was called with."""
    monkeypatch.setattr(gpu.triton, "takes", lambda x: True)
    monkeypatch.setattr(gpu.triton, "launch", lambda source, x, g: ((source, g),))


def test_value_and_backward_pass_have_kernels(launched):
    x, silu = torch.ones(3), activation("silu")
    value, no_g = gpu.by_kernel(silu, 0, x)
    backward, g = gpu.by_kernel(silu, 1, x, x)
    assert "g_at" not in value
    assert "g_at" in backward
    assert no_g is None
    assert g is x


def test_a_parameter_is_a_constant_of_its_own_kernel(launched):
    x = torch.ones(3)
    assert "1.75" in gpu.by_kernel(activation("swish", beta=1.75), 0, x)[0]
    assert "1.75" not in gpu.by_kernel(activation("swish", beta=1.5), 0, x)[0]


def test_trained_parameters_and_a_users_function_are_left_to_torch(launched):
    x = torch.ones(3)
    assert gpu.by_kernel(activation("swish", beta=torch.nn.Parameter(torch.ones(()))), 0, x) is None
    assert gpu.by_kernel(Custom("mine", torch.sin), 0, x) is None


def test_an_operation_without_a_kernel_is_left_to_torch(launched, monkeypatch):
    def refuse(*functions, times):
        raise gpu.triton.Unsupported("no kernel")

    monkeypatch.setattr(gpu.triton, "generate", refuse)
    gpu.source_of.cache_clear()
    assert gpu.by_kernel(activation("mish"), 0, torch.ones(3)) is None
    gpu.source_of.cache_clear()
