"""Where a model has chains of layers of one width, around which skip connections can go."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from undertow.activations import recognise
from undertow.cures.surgery.normalise import NORMS
from undertow.theory.matching import Weighted

PASSIVE = (*NORMS, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Identity)
"""What may stand in a block beside its layer and its activation."""


def blocks(model: nn.Module) -> list[list[str]]:
    """Per block the paths of its modules: a layer that keeps the shape, up to the activation that follows it."""
    return [
        block for path, module in model.named_modules() if type(module) is nn.Sequential for block in _of(module, path)
    ]


def _of(chain: nn.Sequential, path: str) -> Iterator[list[str]]:
    names, found = list(chain._modules), list(chain)
    start = None
    for place, module in enumerate(found):
        if isinstance(module, Weighted):
            start = place if keeps_shape(module) else None
        elif start is not None and recognise(module) is not None:
            yield [f"{path}.{name}".lstrip(".") for name in names[start : place + 1]]
            start = None
        elif not isinstance(module, PASSIVE):
            start = None


def keeps_shape(layer: nn.Module) -> bool:
    """Whether the output of a linear or convolutional layer has the shape of its input."""
    if isinstance(layer, nn.Linear):
        return layer.in_features == layer.out_features
    if not isinstance(layer, nn.modules.conv._ConvNd) or layer.transposed or layer.in_channels != layer.out_channels:
        return False
    if layer.padding == "same":
        return True
    assert not isinstance(layer.padding, str) or layer.padding == "valid"
    padding = (0,) * len(layer.kernel_size) if isinstance(layer.padding, str) else layer.padding
    spans = zip(layer.kernel_size, layer.dilation, padding, strict=True)
    return all(s == 1 for s in layer.stride) and all(2 * p == d * (k - 1) for k, d, p in spans)
