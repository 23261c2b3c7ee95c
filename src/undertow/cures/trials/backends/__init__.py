"""Where tasks are run: in this process, in several of this machine, or on a Ray cluster."""

from undertow.cures.trials.backends.backend import Backend as Backend
from undertow.cures.trials.backends.backend import TimeUpError as TimeUpError
from undertow.cures.trials.backends.choice import backend_for as backend_for
