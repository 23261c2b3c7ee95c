"""What a measured step keeps of its parameters until somebody asks."""

from __future__ import annotations

from undertow.probe.stepping.deep import Parameters
from undertow.record import ParameterReading, Reading

READING = ParameterReading(Reading(4, 0.0, 1.0, 2.0), None)


def test_two_threads_that_ask_at_once_get_the_same() -> None:
    """Both may be inside: `functools.cached_property` has no lock since Python 3.12."""
    found = Parameters(("w",), lambda: {"w": READING})
    inside = vars(Parameters)["_readings"].func
    assert inside(found) == inside(found) == dict(found) == {"w": READING}


def test_what_was_kept_to_read_from_is_let_go() -> None:
    calls = []
    found = Parameters(("w",), lambda: calls.append(1) or {"w": READING})
    assert (found["w"], found["w"]) == (READING, READING)
    assert calls == [1]
    assert found._read() == {"w": READING}
    assert calls == [1]
