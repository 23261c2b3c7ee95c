"""What a duck type of tensors has to do to pass through a definition's `f`.

torch's functions, methods and operators all come to `call`, by one name each.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

ARITHMETIC = "abs", "add", "sub", "mul", "div", "neg", "pow", "square", "sqrt", "rsqrt", "reciprocal", "sign", "clone"
EXPONENTIAL = "exp", "expm1", "log", "log1p", "sigmoid", "tanh", "sinh", "cosh", "asinh", "softplus", "log_sigmoid"
OTHER = "sin", "cos", "atan", "erf", "erfc", "relu", "ceil", "isnan", "isinf", "zeros_like", "ones_like", "full_like"
CHOICE = "where", "clamp", "clamp_min", "clamp_max", "maximum", "minimum", "gt", "ge", "lt", "le", "eq", "ne"
SYNONYMS = {
    "absolute": "abs",
    "negative": "neg",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "truediv": "div",
    "logsigmoid": "log_sigmoid",
    "expit": "sigmoid",
    "arctan": "atan",
    "arcsinh": "asinh",
    "clip": "clamp",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
    "radd": "add",
    "rmul": "mul",
    "rsub": "rsub",
    "rtruediv": "rdiv",
    "rdiv": "rdiv",
}
CANONICAL = {name: name for name in (*ARITHMETIC, *EXPONENTIAL, *OTHER, *CHOICE)} | SYNONYMS


def _known() -> dict[Any, str]:
    """Each function, method and operator of torch that is one of the operations."""
    homes = (torch, torch.Tensor, torch.special, F, torch._C._nn, operator)  # pyright: ignore[reportAttributeAccessIssue]
    spelled = [(s, canonical) for name, canonical in CANONICAL.items() for s in (name, f"__{name}__")]
    return {
        getattr(home, s): canonical for s, canonical in spelled for home in homes if callable(getattr(home, s, None))
    }


NAMES = _known()
"""By the function itself and not by its name, since torch.compile can't read `__name__`."""


class OutsideVocabulary(AttributeError):
    """An operation that this arithmetic doesn't know: the caller takes another way."""


class Duck(ABC):
    """Goes wherever a tensor goes in elementwise code; each operation is a row of `rules`."""

    rules: ClassVar[dict[str, Callable[..., Any]]]
    rank: ClassVar[int] = 0
    """A type of higher rank may hold those of lower rank, and answers for an operation on both."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return cls.call(NAMES.get(func, ""), *args, **(kwargs or {}))

    @classmethod
    def call(cls, name: str, *args: Any, **kwargs: Any) -> Any:
        """The operation of this name, by the outermost type among its arguments."""
        outer = cls
        for a in args:
            if isinstance(a, Duck) and a.rank > outer.rank:
                outer = type(a)
        if name not in outer.rules:
            raise OutsideVocabulary(f"{name or 'an operation'} of a {outer.__name__}")
        return outer.rules[name](*args, **kwargs)

    @property
    @abstractmethod
    def plain(self) -> Any:
        """A tensor of the same shape, dtype and device."""

    @property
    def dtype(self) -> Any:
        return self.plain.dtype

    @property
    def device(self) -> Any:
        return self.plain.device

    @property
    def shape(self) -> Any:
        return self.plain.shape

    @property
    def ndim(self) -> int:
        return self.plain.ndim

    def __getattr__(self, name: str) -> Callable[..., Any]:
        canonical = CANONICAL.get(name, name)
        if canonical not in type(self).rules:
            raise OutsideVocabulary(f"{name} of a {type(self).__name__}")
        return lambda *args, **kwargs: self.call(canonical, self, *args, **kwargs)

    def __add__(self, other: Any) -> Any:
        return self.call("add", self, other)

    def __sub__(self, other: Any) -> Any:
        return self.call("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.call("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return self.call("mul", self, other)

    def __truediv__(self, other: Any) -> Any:
        return self.call("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.call("div", other, self)

    def __pow__(self, exponent: Any) -> Any:
        return self.call("pow", self, exponent)

    def __rpow__(self, base: Any) -> Any:
        return self.call("pow", base, self)

    def __neg__(self) -> Any:
        return self.call("neg", self)

    def __abs__(self) -> Any:
        return self.call("abs", self)

    def __gt__(self, other: Any) -> Any:
        return self.call("gt", self, other)

    def __ge__(self, other: Any) -> Any:
        return self.call("ge", self, other)

    def __lt__(self, other: Any) -> Any:
        return self.call("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return self.call("le", self, other)

    def __eq__(self, other: object) -> Any:
        return self.call("eq", self, other)

    def __ne__(self, other: object) -> Any:
        return self.call("ne", self, other)

    __hash__ = None  # pyright: ignore[reportAssignmentType]
    __radd__ = __add__
    __rmul__ = __mul__
