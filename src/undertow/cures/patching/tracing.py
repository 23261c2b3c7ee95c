"""Which calls in a user's file make the modules, the optimizer and the training: seen by running it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import libcst as cst
from torch import nn
from torch.optim import Optimizer

from undertow.cures.patching.loading import loaded
from undertow.cures.patching.text import File
from undertow.cures.training import Training, check
from undertow.cures.trials.seeding import seed_everything

MARK = "__undertow_made__"
OF_INTEREST = (nn.Module, Optimizer, Training)


@dataclass
class Site:
    """A call in the file, and what it made."""

    call: cst.Call
    made: list[Any] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)
    """The variables that could be seen there, as the last call of it began."""
    local: frozenset[str] = frozenset()
    """Those that belong to the function around."""


class Trace:
    """One run of `make(seed)` in which every call of the file is noted down."""

    def __init__(self, file: File, name: str, seed: int) -> None:
        self._sites = [Site(call) for call in file.calls]
        self._first: dict[int, Site] = {}
        text = file.tree.visit(_Marking({call: i for i, call in enumerate(file.calls)})).code
        with loaded(text, file.path, {MARK: self._note}) as module:
            seed_everything(seed)
            self.training = check(getattr(module, name)(seed))
        self.globals = dict(vars(module))

    def _note(self, index: int, value: Any) -> Any:
        if isinstance(value, OF_INTEREST) and id(value) not in self._first:
            site = self._sites[index]
            self._first[id(value)] = site
            site.made.append(value)  # which keeps it alive, so that its id stays its own
            frame = sys._getframe(1)
            site.names, site.local = {**frame.f_globals, **frame.f_locals}, frozenset(frame.f_locals)
        return value

    def site(self, made: Any) -> Site | None:
        """The innermost call of the file that gave this object first."""
        return self._first.get(id(made))

    def named(self, site: Site, value: Any) -> str | None:
        """How a variable, or an attribute of `self`, that is this object is called there."""
        for name, held in site.names.items():
            if held is value and name.isidentifier() and not name.startswith("__"):
                return name
        attributes = getattr(site.names.get("self"), "__dict__", {})
        modules = attributes.get("_modules") or {}
        return next((f"self.{n}" for n, held in {**attributes, **modules}.items() if held is value), None)


class _Marking(cst.CSTTransformer):
    """f(x) → mark(3, f(x)) for the call with index 3."""

    def __init__(self, indices: dict[cst.Call, int]) -> None:
        super().__init__()
        self._indices = indices

    def visit_FormattedString(self, node: cst.FormattedString) -> bool:
        return False  # quotes inside of it may not be its own

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        index = cst.Integer(str(self._indices[original_node]))
        return cst.Call(cst.Name(MARK), [cst.Arg(index), cst.Arg(updated_node)])
