"""The protocol of an activation, and the decorator that makes one known by its name.

A definition is one class in its family's file: a frozen dataclass under `@activation`, whose fields are its
parameters.  Lookup, layer, tests, figures, gains and moments follow from it by themselves.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar, dataclass_transform

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from undertow.activations.arithmetic import OutsideVocabulary, jet
from undertow.activations.autograd import Keep, rung, slope, through_output
from undertow.activations.kinds import Numeric, through
from undertow.activations.parameters import fits, is_numeric, is_vector
from undertow.foundation import InputError, Reference, Registry

if TYPE_CHECKING:
    from torch import nn

A = TypeVar("A", bound="type[Activation]")


class Activation(ABC):
    """One activation function: value, derivative, second derivative, and where it comes from."""

    name: str
    aliases: tuple[str, ...] = ()
    presets: Mapping[str, Mapping[str, float]] = MappingProxyType({})
    """Names of this function with particular parameters: {"silu": {"beta": 1.0}}."""
    formula: str
    """LaTeX without $, as are the other two."""
    derivative_formula: str
    second_derivative_formula: str
    reference: Reference
    kinks: tuple[float, ...] = ()
    """Where f or one of its first two derivatives is not smooth."""
    learned: ClassVar[tuple[str, ...]] = ()
    """The parameters that a layer trains unless told otherwise."""

    @abstractmethod
    def __call__(self, x: Numeric) -> Numeric:
        """f(x)."""

    @abstractmethod
    def derivative(self, x: Numeric) -> Numeric:
        """f′(x); at a kink the derivative from the left."""

    @abstractmethod
    def second_derivative(self, x: Numeric) -> Numeric:
        """f″(x); at a kink from the left."""

    def layer(self, trainable: bool | None = None, channels: int = 1, keep: Keep | None = None) -> nn.Module:
        """A `torch.nn` layer of this function.

        `trainable`: whether the parameters are trained (by default only those that the paper trains); `channels`:
        how many of each, one for every index of dimension 1 (the funnel needs it always: see `FReLU`); `keep`: whether
        the backward pass keeps x ("input") or y ("output"), by default what is as exact: see `df_from_output`.
        """
        from undertow.activations.layers.layer import layer_of

        return layer_of(self, trainable, channels, keep)

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # pyright: ignore[reportArgumentType]

    @property
    def label(self) -> str:
        """The name, with the parameters that differ from their defaults: `swish(beta=1.5)`."""
        fields = dataclasses.fields(self)  # pyright: ignore[reportArgumentType]
        changed = [(f, v) for f in fields if (v := getattr(self, f.name)) is not f.default and not _same(self, f.name)]
        shown = [f"{f.name}={_shown(v)}" for f, v in changed if isinstance(v, (int, float, Tensor)) or is_vector(f)]
        return f"{self.name}({', '.join(shown)})" if shown else self.name

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The parameters that are tensors."""
        return {n: v for n, v in vars(self).items() if isinstance(v, Tensor)}

    def __eq__(self, other: object) -> bool:
        # an instance that holds a tensor is only itself: comparing tensors is ambiguous, and they change in training
        if self is other or not isinstance(other, Activation) or type(self) is not type(other):
            return self is other
        return not (self.tensors or other.tensors) and self.parameters == other.parameters

    def __hash__(self) -> int:
        return id(self) if self.tensors else hash((type(self), tuple(self.parameters.values())))

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):  # pyright: ignore[reportArgumentType]
            value = getattr(self, f.name)
            if is_numeric(f) and not fits(f, value):
                several = "a tuple of finite numbers or a floating point tensor of shape (k,) or (k, channels)"
                expected = several if is_vector(f) else "a finite number or a floating point tensor"
                got = f"a tensor of {value.dtype}, {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
                raise InputError(f"{f.name}={got}", expected, f"{type(self).__name__}({f.name}={f.default})")


def _same(act: Activation, name: str) -> bool:
    default = type(act).__dataclass_fields__[name].default  # pyright: ignore[reportAttributeAccessIssue]
    value = getattr(act, name)
    return not isinstance(value, Tensor) and value == default


def _shown(value: float | tuple[float, ...] | Tensor) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} values"
    if not isinstance(value, Tensor):
        return f"{value:g}"
    return f"{value.item():.4g}" if value.numel() == 1 else f"{value.numel()} values"


class Pointwise(Activation):
    """y_i = f(x_i).

    A definition writes `f`, and `df`, `d2f` only where the automatic derivatives of f fail.  A tensor parameter of
    shape (C,), C > 1, runs along dimension 1 of x (along the only dimension of a vector), as in torch's PReLU.  A
    parameter whose default is a tuple is several numbers: as a tensor it has the shape (k,) or (k, C), and f takes
    the i-th as `self.name[i]`.
    """

    exact: ClassVar[bool] = False
    """Whether torch's operations are exact to one rounding in every dtype, so that nothing wider is needed."""
    torch_autograd: ClassVar[bool] = False
    """Whether torch's own backward pass of `f` is as exact and as lean, so that it is used as it is."""
    keeps: ClassVar[Keep] = "input"
    """What the backward pass reads: x, or y where `df_from_output` is as good."""

    @abstractmethod
    def f(self, x: Tensor) -> Tensor:
        """The value, in float32 or float64."""

    def df(self, x: Tensor) -> Tensor:
        return differentiated(self.f, x, 1)

    def d2f(self, x: Tensor) -> Tensor:
        own = type(self).df is not Pointwise.df
        return differentiated(self.df, x, 1) if own else differentiated(self.f, x, 2)

    def df_from_output(self, y: Tensor) -> Tensor:
        """f′(x) as a function of y = f(x), for a strictly monotone f; its docstring states the error.

        Raises
        ------
        InputError
            Where y does not tell f′.
        """
        raise InputError(f"keep='output' for {self.label}", "a function whose f′ follows from y", "keep='input'")

    def __call__(self, x: Numeric) -> Numeric:
        return through(self._seen, x)

    def derivative(self, x: Numeric) -> Numeric:
        return through(lambda t: self._derivative(t, 1), x)

    def second_derivative(self, x: Numeric) -> Numeric:
        return through(lambda t: self._derivative(t, 2), x)

    def _seen(self, x: Tensor, keep: Keep | None = None) -> Tensor:
        keep = keep or ("input" if self.tensors else self.keeps)
        if has_torch_function_unary(x):
            return handle_torch_function(applied, (x,), x, self, keep)
        return applied(x, self, keep)

    def _value(self, x: Tensor) -> Tensor:
        if self.torch_autograd and not self.tensors:
            return self.f(x)
        return rung(self, 0, x)

    def _derivative(self, x: Tensor, order: int) -> Tensor:
        return rung(self, order, x)

    def placed(self, x: Tensor) -> Pointwise:
        """This definition with its tensor parameters shaped and placed for x."""
        tensors = self.tensors
        if not tensors:
            return self
        wide, vectors = widened_like(x), self.vectors
        placed = {n: torch.stack([*map(wide, v)]) if n in vectors else wide(v) for n, v in tensors.items()}
        return dataclasses.replace(self, **placed)  # pyright: ignore

    @property
    def vectors(self) -> tuple[str, ...]:
        """The parameters that are several numbers each."""
        return tuple(f.name for f in dataclasses.fields(self) if is_vector(f))  # pyright: ignore[reportArgumentType]

    @property
    def channels(self) -> int:
        """For how many channels the tensor parameters have values of their own."""
        vectors = self.vectors
        return max((v[0].numel() if n in vectors else v.numel() for n, v in self.tensors.items()), default=1)


def differentiated(function: Callable[[Tensor], Tensor], x: Tensor, order: int) -> Tensor:
    """f′ or f″ of an elementwise function of a tensor or a duck of one, by the rules of its operations."""
    try:
        return jet(function, x, order)
    except OutsideVocabulary:
        if not isinstance(x, Tensor):
            raise
        return slope(function, x) if order == 1 else slope(lambda t: slope(function, t), x)


def applied(x: Tensor, act: Any, keep: Keep = "input") -> Tensor:
    """act(x) as a torch function: what a TorchFunctionMode sees, which an autograd.Function alone would hide."""
    return through_output(act, x) if keep == "output" else act._value(x)


def widened_like(x: Tensor) -> Callable[[Tensor], Tensor]:
    """What brings a parameter of shape () or (C,) to the dtype, device and dimensions of x."""

    def fit(p: Tensor) -> Tensor:
        p = p.to(device=x.device, dtype=x.dtype if x.dtype.itemsize >= 4 else p.new_empty(0).float().dtype)
        if p.numel() == 1:
            return p.reshape(())
        dim = 1 if x.ndim > 1 else 0
        if p.ndim != 1 or x.ndim == 0 or x.shape[dim] != p.numel():
            raise InputError(
                f"a parameter of shape {tuple(p.shape)} for an input of shape {tuple(x.shape)}",
                f"one value, or one for each index of dimension {dim}",
                ".layer(channels=x.shape[1])",
            )
        return p.reshape(-1, *(1,) * (x.ndim - 1 - dim))

    return fit


class Named(NamedTuple):
    """What a name stands for."""

    definition: type[Activation]
    preset: Mapping[str, Any]


ACTIVATIONS: Registry[Named] = Registry("activation", "undertow activations list")


@dataclass_transform(frozen_default=True, eq_default=False)
def activation(name: str, *aliases: str, presets: Mapping[str, Mapping[str, float]] | None = None) -> Callable[[A], A]:
    """Make a class a frozen dataclass, known by this name, its aliases and its presets ({"silu": {"beta": 1.0}})."""

    def define(cls: A) -> A:
        # before `dataclass`, which invents a docstring where there is none
        if not cls.__doc__:
            raise TypeError(f"{cls.__name__} needs a docstring: the formula, then what it is")
        cls.name, cls.aliases, cls.presets = name, aliases, MappingProxyType(dict(presets or {}))
        cls = dataclasses.dataclass(frozen=True, eq=False)(cls)
        ACTIVATIONS.add(name, Named(cls, {}), aliases)
        for preset, parameters in cls.presets.items():
            ACTIVATIONS.add(preset, Named(cls, parameters))
        return cls

    return define
