"""Names are those that the user gave, whatever wraps the model."""

import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from undertow.record.names import module_names, named_parameters


class Holder(nn.Module):
    """A user's attribute may be called `module` too."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
        self.bias = nn.Parameter(torch.zeros(1))


PLAIN = ["bias", "module.0.weight", "module.0.bias"]


def parameters(model: nn.Module) -> list[str]:
    return [name for name, _ in named_parameters(model)]


def test_a_model_without_wrappers_keeps_its_names() -> None:
    model = Holder()
    assert parameters(model) == PLAIN == [name for name, _ in model.named_parameters()]
    assert all(raw == name for raw, name in module_names(model).items())


def test_wrappers_around_the_model_and_inside_it_leave_no_name() -> None:
    inner = Holder()
    inner.module[0] = checkpoint_wrapper(inner.module[0])
    model = torch.compile(nn.DataParallel(inner), backend="eager")
    assert parameters(model) == PLAIN
    assert set(module_names(model).values()) == {"", "module", "module.0", "module.1"}


def test_a_compiled_part_has_the_name_of_the_part() -> None:
    model = nn.Sequential(torch.compile(nn.Linear(2, 2), backend="eager"), nn.ReLU())
    assert parameters(model) == ["0.weight", "0.bias"]


def test_the_parameter_of_a_shared_module_has_one_name() -> None:
    layer = nn.Linear(2, 2)
    assert parameters(nn.Sequential(layer, layer)) == ["0.weight", "0.bias"]
    assert module_names(nn.Sequential(layer, layer)) == {"": "", "0": "0", "1": "1"}
