"""`torch.nn` layers of activations."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from undertow.activations.autograd import Keep
from undertow.activations.base import Activation, Pointwise
from undertow.activations.functions.spatial import FReLU, funnel
from undertow.activations.layers.traced import one_call
from undertow.activations.parameters import is_numeric
from undertow.foundation import InputError

# Ma et al. (2020) initialise the window from a Gaussian near 0 and print no width; their released networks use the
# framework's default.  0.01 is our choice: BatchNorm sets the size of T(x), so it matters only through BatchNorm's eps
WINDOW_STD = 0.01


class ActivationLayer(nn.Module):
    """y = definition(x), with the trained parameters of the definition as `nn.Parameter`s named after its fields.

    Parameters
    ----------
    definition:
        Any activation; its parameters are the starting values.
    trainable:
        True trains every numeric parameter, False none, None those that the paper trains (PReLU's slope).
    channels:
        How many values of each trained parameter: one for all, or one for each index of dimension 1.  A parameter of
        k numbers has the shape (k, channels).
    keep:
        What the backward pass keeps, "input" or "output", for functions whose f′ follows from either; None leaves it
        to the definition.
    """

    def __init__(
        self, definition: Activation, trainable: bool | None = None, channels: int = 1, keep: Keep | None = None
    ) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"channels={channels}", "a whole number from 1 on", "layer(channels=64)")
        fields = dataclasses.fields(definition)  # pyright: ignore[reportArgumentType]
        numeric = tuple(f.name for f in fields if is_numeric(f))
        if trainable and not numeric:
            got = f"trainable=True for {definition.name}, which has no parameters"
            raise InputError(got, "an activation with parameters", "activation('swish').layer(trainable=True)")
        self.trained = definition.learned if trainable is None else numeric if trainable else ()
        self.channels = channels
        for name in self.trained:
            start = torch.as_tensor(getattr(definition, name), dtype=torch.get_default_dtype()).detach()
            if name in getattr(definition, "vectors", ()):
                start = start.reshape(len(start), -1)  # (k, channels)
            self.register_parameter(name, nn.Parameter(start.expand(*start.shape[:-1], channels).clone()))
        # kept without the tensors that are Parameters of this module: one owner for each value
        floats = {n: _numbers(definition, n) for n in self.trained if n in definition.tensors}
        self._start = dataclasses.replace(definition, **floats) if floats else definition  # pyright: ignore
        self.keep: Keep | None = keep if keep is None else _checked(keep, self.definition)

    @property
    def definition(self) -> Activation:
        """The definition with the parameters of this layer in it."""
        if not self.trained:
            return self._start
        return dataclasses.replace(self._start, **{n: getattr(self, n) for n in self.trained})  # pyright: ignore

    @one_call
    def forward(self, x: Tensor) -> Tensor:
        definition = self.definition
        if self.keep is None:
            return definition(x)
        assert isinstance(definition, Pointwise)
        return definition._seen(x, self.keep)

    def extra_repr(self) -> str:
        trained = f", trained: {', '.join(self.trained)}" if self.trained else ""
        channels = f", channels={self.channels}" if self.trained and self.channels > 1 else ""
        return f"{self._start.label}{trained}{channels}"


def _numbers(definition: Activation, name: str) -> float | tuple[float, ...]:
    """A tensor parameter, averaged over its channels."""
    value = definition.tensors[name].detach()
    if name in getattr(definition, "vectors", ()):
        return tuple(value.reshape(len(value), -1).mean(1).tolist())
    return float(value.mean())


class FunnelReLU(nn.Module):
    """y = max(x, T(x)), T(x) = BN(w ∗ x) with a depthwise 3×3 window w; x and y of shape (N, C, H, W).

    `.definition` is the function of evaluation mode, BatchNorm's running statistics folded into the window.

    References
    ----------
    Ma, Zhang, Sun (2020). Funnel Activation for Visual Recognition. ECCV, arXiv:2007.11824.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < 1:
            raise InputError(f"channels={channels}", "the number of channels of the input", "FunnelReLU(channels=64)")
        self.channels = channels
        self.window = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.normal_(self.window.weight, std=WINDOW_STD)

    @property
    def definition(self) -> FReLU:
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None  # BatchNorm2d tracks both
        assert variance is not None
        scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        return FReLU(window=self.window.weight * scale[:, None, None, None], bias=self.norm.bias - mean * scale)

    @one_call
    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.channels:
            raise InputError(
                f"an input of shape {tuple(x.shape)}",
                f"(N, {self.channels}, H, W)",
                "activation('frelu').layer(channels=x.shape[1])",
            )
        return funnel(x, self.norm(self.window(x)))


def _checked(keep: Keep, definition: Activation) -> Keep:
    got, example = f"keep={keep!r} for {definition.label}", "activation('softplus').layer(keep='output')"
    if keep not in ("input", "output") or not isinstance(definition, Pointwise):
        raise InputError(got, "'input' or 'output' for a pointwise function", example)
    if keep == "output":
        if definition.tensors:
            raise InputError(f"{got} with trained parameters", "fixed ones: theirs is a gradient that needs x", example)
        definition.df_from_output(torch.zeros(0))  # which says what is wrong with it
    return keep


def layer_of(definition: Activation, trainable: bool | None, channels: int, keep: Keep | None = None) -> nn.Module:
    """The layer of any activation: the funnel has its own, all others share one."""
    if isinstance(definition, FReLU):
        return FunnelReLU(channels)
    return ActivationLayer(definition, trainable, channels, keep)
