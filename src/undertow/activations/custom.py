"""A function that is not in the catalogue: the user's own, or one of torch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from undertow.activations.arithmetic import Duck, OutsideVocabulary
from undertow.activations.base import Pointwise
from undertow.foundation import InputError, Reference


@dataclass(frozen=True, eq=False)
class Custom(Pointwise):
    """f(x) = function(x), with the derivatives by autograd of the function.

    Parameters
    ----------
    name:
        What to call it.
    function:
        Elementwise: a tensor in, a tensor of the same shape out.  Equal functions make equal definitions.
    kinks:
        Where it is not smooth; theory integrates piece by piece between them.

    Raises
    ------
    InputError
        For something that can't be called, and where the result has another shape than x.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()
    reference = Reference("the user", 0, "a function of the user's own")

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputError(f"{self.function!r} for {self.name!r}", "a callable", "Custom('square', torch.square)")

    @property
    def formula(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return rf"\mathrm{{{self.name}}}(x)".replace("_", r"\_")

    @property
    def derivative_formula(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return rf"\mathrm{{{self.name}}}'(x)".replace("_", r"\_")

    @property
    def second_derivative_formula(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return rf"\mathrm{{{self.name}}}''(x)".replace("_", r"\_")

    def f(self, x: Tensor) -> Tensor:
        if isinstance(x, Duck):  # a function of the user's may ask anything of its tensor
            raise OutsideVocabulary(self.name)
        y = self.function(x)
        if not isinstance(y, Tensor) or y.shape != x.shape:
            got = f"a result of shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise InputError(
                f"{got} from {self.name!r} for an input of shape {tuple(x.shape)}",
                "a function that acts on each element by itself",
                "Custom('double', lambda x: 2 * x)",
            )
        return y
