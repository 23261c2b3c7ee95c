"""timm imports torchvision, whose build on PyPI does not load beside a CPU build of torch: an empty one stands in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, ClassVar

from torch import nn

NAMES = ["", ".datasets", ".models", ".models.feature_extraction", ".ops", ".ops.misc", ".transforms"]
NAMES += [".transforms.functional"]


class _Empty(ModuleType):
    """Has a class of every name, so that other modules can import it and derive from it."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(
            name, (nn.Module,), {"BILINEAR": 2, "BICUBIC": 3, "NEAREST": 0, "LANCZOS": 1, "HAMMING": 5, "BOX": 4}
        )
        setattr(self, name, made)
        return made


@contextmanager
def torchvision_standin() -> Iterator[None]:
    """Inside the block `import torchvision` gives an empty package; afterwards it is unknown again."""
    if "torchvision" in sys.modules:
        yield
        return
    made = {"torchvision" + name: _Empty("torchvision" + name) for name in NAMES}
    for name, module in made.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, module)
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            sys.modules.pop(name, None)
