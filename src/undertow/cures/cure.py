"""What a cure is: one change to a training, tried on a copy and printable as code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar

from undertow.cures.copying import copied, reconcile
from undertow.cures.surgery.source import Edit, apply_edits_
from undertow.cures.training import Training
from undertow.foundation import InputError, Kind, Reference, Registry, UndertowError, say

CURES: Registry[type[Cure]] = Registry("cure", "ut.cures.all_cures()")


class NotApplicableError(InputError):
    """A training that a cure cannot change; `reason` says why."""

    def __init__(self, cure: Cure, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"a training that {cure.label} cannot change ({reason})",
            "one where cure.applies is None",
            "another cure, or the change by hand",
        )


@dataclass(frozen=True)
class Cure(ABC):
    """One change that may help: to the activation, initialisation, normalisation, optimizer, learning rate or clipping.

    A subclass is a frozen dataclass under `@CURES.register(name)` in a file of its own in `cures/catalogue/`; its
    fields are its knobs.  It defines `applies`, `change` and `patch`; the sentences are `cures.<name>.title` and
    `cures.<name>.why` of the message catalogue.
    """

    name: ClassVar[str]
    reference: ClassVar[Reference]
    treats: ClassVar[tuple[Kind, ...]]
    """The kinds of findings that it is meant for."""
    label_format: ClassVar[str] = "{name}"
    settings: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    """The knobs with which a search tries it, one trial each."""
    changes_network: ClassVar[bool] = False
    """Whether it makes another network of it, which may need another learning rate: a search that can't prove it at
    the user's rate tries it once more at a tenth."""

    @property
    def label(self) -> str:
        """The name, with the knobs where it is tried with several settings: `learning_rate ×0.1`."""
        return self.label_format.format(name=self.name, **asdict(self))

    @property
    def title(self) -> str:
        """What it changes, in a few words."""
        return say(f"cures.{self.name}.title", **asdict(self))

    @property
    def why(self) -> str:
        """Why it may help, in one sentence."""
        return say(f"cures.{self.name}.why", **asdict(self))

    @abstractmethod
    def applies(self, training: Training) -> str | None:
        """None, or the reason why this training cannot be changed so."""

    @abstractmethod
    def change(self, training: Training) -> None:
        """Make the change in place; `apply` calls it on a copy, after the source is edited."""

    def edits(self, training: Training) -> tuple[Edit, ...]:
        """What the cure writes differently in the user's source; a trial runs exactly that."""
        return ()

    @abstractmethod
    def patch(self, training: Training) -> str:
        """The lines of code that the user would write, with the names `model` and `optimizer`."""

    def apply(self, training: Training) -> Training:
        """A changed copy; the user's model and optimizer are never touched.

        Raises
        ------
        NotApplicableError
            The cure does not apply to this training.
        """
        if reason := self.applies(training):
            raise NotApplicableError(self, reason)
        copy = copied(training)
        before = dict(copy.model.named_parameters())
        try:
            apply_edits_(copy, self.edits(training))
            self.change(copy)
        except NotApplicableError:
            raise
        except InputError as error:  # the initialisation, for one, cannot set weights that are computed
            raise NotApplicableError(self, error.got) from error
        reconcile(copy.optimizer, copy.model, before)
        return copy


def all_cures() -> tuple[Cure, ...]:
    """Every cure in every setting that a search tries, in the order of the files' names."""
    return tuple(cure(**knobs) for _, cure in _loaded().items() for knobs in cure.settings)


def chosen(names: Iterable[str | Cure] | None = None) -> tuple[Cure, ...]:
    """Cures by name ("relu"), by label ("learning_rate ×10") or as they are; all of them for None.

    Raises
    ------
    UnknownNameError
        With the nearest names.
    InputError
        Something that is neither a name nor a cure, or the same cure twice.
    """
    if names is None:
        return all_cures()
    found = tuple(cure for name in ([names] if isinstance(names, str | Cure) else names) for cure in _named(name))
    labels = [cure.label for cure in found]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise InputError(
            f"the cure {twice[0]!r} more than once", "each cure once", f"cures={list(dict.fromkeys(labels))}"
        )
    return found


def _named(name: str | Cure) -> Iterator[Cure]:
    if isinstance(name, Cure):
        yield name
    elif not isinstance(name, str):
        raise InputError(f"{name!r} as a cure", "a name or a Cure", "cures=['relu', 'adam']")
    elif exact := [cure for cure in all_cures() if cure.label == name]:
        yield from exact
    else:
        cure = _loaded()[name]
        yield from (cure(**knobs) for knobs in cure.settings)


def _loaded() -> Registry[type[Cure]]:
    """The registry, with every file of `cures/catalogue/` imported."""
    folder = import_module("undertow.cures.catalogue")
    for module in iter_modules(folder.__path__):
        import_module(f"{folder.__name__}.{module.name}")
    return CURES


def failure(error: BaseException) -> str:
    """An error as the reason of a verdict, in one line."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    return text if isinstance(error, UndertowError) else f"{type(error).__name__}: {text}".removesuffix(": ")
