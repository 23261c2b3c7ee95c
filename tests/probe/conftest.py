"""What several of the probe's tests ask for."""

import pytest

from undertow.probe.stepping.budget import Budget


@pytest.fixture
def norms_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where reading the norms costs next to nothing."""
    monkeypatch.setattr(Budget, "wants_norms", lambda *_: True)
