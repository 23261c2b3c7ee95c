"""What an observed model is made of, as a run file keeps it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModuleFact:
    """One module: its name in the model, its class, and how it was made (`in_features=4, …`)."""

    name: str
    kind: str
    details: str = ""


@dataclass(frozen=True)
class ParameterFact:
    """One parameter; `shape` is None as long as a lazy module does not know it."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    device: str
    trained: bool


@dataclass(frozen=True)
class Description:
    """A model: the name of its class, its modules and its parameters, the model itself as the module ``""``."""

    modules: tuple[ModuleFact, ...] = ()
    parameters: tuple[ParameterFact, ...] = ()

    @property
    def unknown(self) -> bool:
        """Whether a lazy module is yet to learn the shape of a parameter."""
        return any(p.shape is None for p in self.parameters)
