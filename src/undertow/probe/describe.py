"""What a model is made of, by the names that its user gave."""

from __future__ import annotations

from torch import nn
from torch.nn.parameter import is_lazy

from undertow.record.description import Description, ModuleFact, ParameterFact
from undertow.record.names import module_names, named_parameters


def describe(model: nn.Module) -> Description:
    """Its modules and parameters, each once; of a lazy module the shapes as far as they are known."""
    names = module_names(model)
    modules = {id(module): _module(names[raw], module) for raw, module in model.named_modules() if raw in names}
    parameters = (_parameter(name, parameter) for name, parameter in named_parameters(model))
    return Description(tuple(modules.values()), tuple(parameters))


def _module(name: str, module: nn.Module) -> ModuleFact:
    ours_to_ask = type(module).__module__.startswith("torch.nn")  # a user's own extra_repr may do anything
    return ModuleFact(name, type(module).__name__, module.extra_repr() if ours_to_ask else "")


def _parameter(name: str, parameter: nn.Parameter) -> ParameterFact:
    return ParameterFact(
        name,
        None if is_lazy(parameter) else tuple(parameter.shape),
        str(parameter.dtype).removeprefix("torch."),
        str(parameter.device),
        parameter.requires_grad,
    )
