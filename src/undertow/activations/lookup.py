"""From a name to an activation."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from undertow.activations.base import ACTIVATIONS, Activation
from undertow.activations.custom import Custom
from undertow.foundation import InputError


def activation(name: str | Activation, /, **parameters: float | Tensor) -> Activation:
    """The activation of this name or alias, with these parameters; an activation comes back as it is.

    Raises
    ------
    UnknownNameError
        For an unknown name; the message has the nearest ones.
    InputError
        For a parameter that the activation doesn't have, or of the wrong kind.
    """
    if isinstance(name, Activation):
        definition, values, name = type(name), name.parameters, name.name
    elif isinstance(name, str):
        definition, values = ACTIVATIONS[name]
    else:
        raise InputError(f"{type(name).__name__}", "the name of an activation", "activation('relu')")
    fields = dataclasses.fields(definition)  # pyright: ignore[reportArgumentType]
    known = {f.name: f.default for f in fields} if definition is not Custom else {}
    for unknown in parameters.keys() - known.keys():
        has = f"one of {', '.join(known)}" if known else f"no parameters: {name} has none"
        example = ", ".join([repr(name), *(f"{n}={d}" for n, d in known.items())])
        raise InputError(f"the parameter {unknown!r} for {name!r}", has, f"activation({example})")
    return definition(**{**values, **parameters})


def names() -> tuple[str, ...]:
    """The names of all activations, without aliases and presets, in the order of definition."""
    return tuple(n for n, entry in ACTIVATIONS.items() if not entry.preset or entry.preset.get("name") == n)
