"""Every error that undertow raises on purpose.

::

    UndertowError
    ├── UnknownNameError      a name that no registry knows (also a LookupError)
    ├── InputError            a value of the wrong kind or shape (also a ValueError)
    │   ├── ModelError        a model that cannot be observed: no parameters, all frozen
    │   ├── BatchError        a batch that the model refuses
    │   ├── LossError         a loss that is no scalar tensor with a gradient
    │   └── TrainingError     a training whose own first step or metric fails
    ├── NothingObservedError  no forward or backward pass was seen
    ├── OutputError           a file that cannot be written
    └── StoppedError          a run that was ended for a fault, as `stop_on` asks
"""

from __future__ import annotations


class UndertowError(Exception):
    """Says what was got, what was expected and what to type instead, in that order."""

    def __init__(self, got: str, expected: str, instead: str) -> None:
        self.got, self.expected, self.instead = got, expected, instead
        super().__init__(f"got {got}; expected {expected}. Try: {instead}")


class UnknownNameError(UndertowError, LookupError):
    pass


class InputError(UndertowError, ValueError):
    pass


class ModelError(InputError):
    pass


class BatchError(InputError):
    pass


class LossError(InputError):
    pass


class TrainingError(InputError):
    pass


class NothingObservedError(UndertowError):
    pass


class OutputError(UndertowError, OSError):
    pass


class StoppedError(UndertowError):
    pass
