"""A function that is not in the catalogue: the user's own, or one of torch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from undertow.activations.arithmetic import Duck, OutsideVocabulary
from undertow.activations.base import ACTIVATIONS, Named, Pointwise
from undertow.activations.evaluate import in_torch
from undertow.foundation import InputError, Reference

USERS = Reference("the user", 0, "a function of the user's own")


@dataclass(frozen=True, eq=False)
class Custom(Pointwise):
    """f(x) = function(x), with the derivatives by automatic differentiation of the function.

    Parameters
    ----------
    name:
        What to call it.
    function:
        Elementwise: a tensor in, a tensor of the same shape out.  Equal functions make equal definitions.  Tensors
        inside it that require gradients are trained; it must not depend on anything else that changes.
    kinks:
        Where it is not smooth; theory integrates piece by piece between them.
    formula:
        LaTeX without $.
    reference:
        Where it comes from.

    Raises
    ------
    InputError
        For something that can't be called, and where the result is not a real tensor of the shape of x.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    kinks: tuple[float, ...] = ()
    formula: str = ""
    reference: Reference = USERS

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputError(f"{self.function!r} for {self.name!r}", "a callable", "Custom('square', torch.square)")
        if not self.formula:
            object.__setattr__(self, "formula", f"{self._symbol}(x)")

    @property
    def _symbol(self) -> str:
        return rf"\mathrm{{{self.name}}}".replace("_", r"\_")

    @property
    def derivative_formula(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"{self._symbol}'(x)"

    @property
    def second_derivative_formula(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"{self._symbol}''(x)"

    def f(self, x: Tensor) -> Tensor:
        return self._of_duck(x) if isinstance(x, Duck) else self._of_tensor(x)

    def _of_duck(self, x: Duck) -> Tensor:
        try:
            return self.function(x)  # pyright: ignore[reportArgumentType]
        except OutsideVocabulary:
            raise
        except Exception as error:  # it asked for what only a tensor has: the tensor's own turn comes next
            raise OutsideVocabulary(self.name) from error

    def _of_tensor(self, x: Tensor) -> Tensor:
        y = self.function(x)
        if not isinstance(y, Tensor) or y.shape != x.shape:
            got = f"a result of shape {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise InputError(
                f"{got} from {self.name!r} for an input of shape {tuple(x.shape)}",
                "a function that acts on each element by itself",
                "define('double', lambda x: 2 * x)",
            )
        if not y.is_floating_point():
            got = f"a result of {str(y.dtype).removeprefix('torch.')} from {self.name!r}"
            raise InputError(got, "real floating point numbers", "define('step', lambda x: (x > 0).to(x.dtype))")
        return y

    def _value(self, x: Tensor) -> Tensor:
        return in_torch(self, 0, x) if self._holds_trained() else super()._value(x)

    def _derivative(self, x: Tensor, order: int) -> Tensor:
        return in_torch(self, order, x) if self._holds_trained() else super()._derivative(x, order)

    def _holds_trained(self) -> bool:
        """Whether tensors inside the function require gradients, which the ladder of derivatives in x leaves out."""
        if torch.compiler.is_compiling():
            return True
        with torch.enable_grad():
            return self._of_tensor(torch.ones(1, dtype=torch.float64)).requires_grad


def define(
    name: str,
    function: Callable[[Tensor], Tensor],
    *,
    kinks: tuple[float, ...] = (),
    formula: str = "",
    reference: Reference = USERS,
) -> Custom:
    r"""Make a function of one's own known by its name: from then on it is an activation as any other.

    `activation("mine")`, its layer, derivatives, traits, gains, figures, lists and pages follow.  The same name again
    replaces one's own earlier function.

    >>> define("bump", lambda x: torch.exp(-x * x), formula=r"e^{-x^2}").derivative(0.5)
    -0.7788007830714049

    Parameters
    ----------
    name, function, kinks, formula, reference:
        As for `Custom`.  The derivatives of a function that is written in the operations of the catalogue's own
        definitions are as exact as theirs; others are torch's.

    Raises
    ------
    InputError
        For a name that is built in, something that can't be called, and a function that changes the shape or the
        kind of numbers, mixes elements, or is random.
    """
    if not isinstance(name, str) or not any(c.isalnum() for c in name):
        raise InputError(f"the name {name!r}", "a word", "define('mine', lambda x: x * torch.sigmoid(x))")
    act = Custom(name, function, tuple(kinks), formula, reference)
    _each_by_itself(act)
    if name in ACTIVATIONS:
        before = ACTIVATIONS[name]
        if before.definition is not Custom:
            known_as = before.definition.name
            raise InputError(f"the name {name!r}, which is {known_as}'s", "a new name", f"define('my_{name}', ...)")
        ACTIVATIONS.remove(name)
    ACTIVATIONS.add(name, Named(Custom, act.parameters))
    return act


def _each_by_itself(act: Custom) -> None:
    x = torch.tensor([-2.5, -0.5, 0.25, 3.0], dtype=torch.float64)
    with torch.no_grad():
        together, alone = act.f(x), torch.cat([act.f(v) for v in x.split(1)])
    if not torch.allclose(together, alone, rtol=1e-9, atol=1e-12, equal_nan=True):
        raise InputError(
            f"{act.name!r}, whose value at one element changes with the others or from call to call",
            "a function that acts on each element by itself, always in the same way",
            "define('double', lambda x: 2 * x)",
        )
