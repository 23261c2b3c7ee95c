"""All that was written down and measured of one activation function."""

from __future__ import annotations

import dataclasses
import inspect
import math
from dataclasses import dataclass
from typing import Any

from undertow.activations import Activation, Custom, Landmarks, Pointwise, Traits, activation, landmarks, names, traits
from undertow.theory import Moments, moments


@dataclass(frozen=True)
class Gaussian:
    """What the function does to inputs u ~ N(0, 1)."""

    E_f: float
    E_f2: float
    E_df2: float
    forward_gain: float | None
    """1/√E[f²], which keeps the size of the signal; None where that is no positive number."""
    backward_gain: float | None
    """1/√E[f′²], which keeps the size of the gradient."""


@dataclass(frozen=True, eq=False)
class Datasheet:
    """One activation function; what needs one f′ of one x is None for a function that couples elements."""

    act: Activation
    family: str
    traits: Traits | None
    landmarks: Landmarks | None
    gaussian: Gaussian | None

    @property
    def definition(self) -> str:
        """The formula in plain text: the first paragraph of the docstring; a user's own has its LaTeX."""
        if isinstance(self.act, Custom):
            return self.act.formula
        paragraph = inspect.cleandoc(type(self.act).__doc__ or "").partition("\n\n")[0]
        return " ".join(paragraph.replace("`", "").split()).rstrip(".")

    @property
    def parameters(self) -> dict[str, Any]:
        """The numbers that shape the function; a user's own has none besides itself."""
        return {} if isinstance(self.act, Custom) else self.act.parameters

    def as_data(self) -> dict[str, Any]:
        """Everything as what JSON has: infinities are the strings "inf" and "-inf", NaN is null."""
        act = self.act
        written = {
            "name": act.name,
            "family": self.family,
            "aliases": list(act.aliases),
            "presets": {name: dict(values) for name, values in act.presets.items()},
            "parameters": self.parameters,
            "definition": self.definition,
            "formula": act.formula,
            "derivative_formula": act.derivative_formula,
            "second_derivative_formula": act.second_derivative_formula,
            "kinks": list(act.kinks),
            "reference": str(act.reference),
            "url": act.reference.url,
        }
        measured = {
            part: dataclasses.asdict(value) if (value := getattr(self, part)) else None
            for part in ("traits", "landmarks", "gaussian")
        }
        return _plain({**written, **measured})


def family(act: Activation) -> str:
    """The family's file in which it is defined."""
    return type(act).__module__.rpartition(".")[2]


def families() -> dict[str, list[str]]:
    """The names of all activations by family."""
    found: dict[str, list[str]] = {}
    for name in names():
        found.setdefault(family(activation(name)), []).append(name)
    return found


def datasheet(act: Activation) -> Datasheet:
    """Collect what is known of an activation; each part is measured once per definition."""
    if not isinstance(act, Pointwise):
        return Datasheet(act, family(act), None, None, None)
    return Datasheet(act, family(act), traits(act), landmarks(act), _gaussian(moments(act)))


def _gaussian(m: Moments) -> Gaussian:
    return Gaussian(m.E_f, m.E_f2, m.E_df2, _gain(m.E_f2), _gain(m.E_df2))


def _gain(size: float) -> float | None:
    return 1 / math.sqrt(size) if 0 < size < math.inf else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        named = getattr(value, "_asdict", None)
        return _plain(named()) if named else [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
