"""Where a function is not smooth is found, and nowhere else."""

import pytest
import torch

from undertow.activations import Custom, Pointwise, activation, names
from undertow.theory.function import find_kinks, pointwise

ALL = [name for name in names() if isinstance(activation(name), Pointwise)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_the_kinks_that_definitions_declare(name):
    act = activation(name)
    found = find_kinks(act)
    assert all(min(abs(k - x) for k in act.kinks) < 1e-11 for x in found)
    # those of isrlu are in f‴, and of the others at a slope that the default parameters leave as it is
    assert len(found) == len(set(act.kinks)) or name in ("isrlu", "srelu", "apl")


@pytest.mark.parametrize(
    ("function", "kinks"),
    [
        (lambda x: x.clamp(-1, 1), (-1.0, 1.0)),
        (lambda x: torch.nn.functional.relu(x - 0.3) ** 2, (0.3,)),
        (lambda x: torch.round(x / 20), (-10.0, 10.0)),
        (lambda x: x * torch.sin(x), ()),
        (torch.exp, ()),
    ],
)
def test_kinks_of_a_users_function(function, kinks):
    assert find_kinks(Custom("own", function)) == pytest.approx(kinks, abs=1e-11)


def test_a_function_is_searched_once():
    calls = []

    def own(x):
        calls.append(1)
        return x * torch.cos(x)

    first, searched = pointwise(own), len(calls)
    assert pointwise(own) == first
    assert len(calls) == searched
