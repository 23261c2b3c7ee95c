"""A value or a gradient is NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from undertow.activations import ACTIVATIONS
from undertow.diagnosis.examples import classify, mlp
from undertow.diagnosis.rule import Example, Rule, rule
from undertow.foundation import Cause, Evidence, Finding
from undertow.record import Entry, Origin, Reading, Recording, Snapshot
from undertow.record.flow import LARGE_INPUT, layer_of

CURES: dict[Cause, tuple[str, ...]] = {
    "input_scale": ("standardise",),
    "activation": ("relu", "batch_norm"),
    "weights": ("matched_init", "batch_norm"),
    "graph": ("safe_where", "bounded_operand"),
    "loss": (),
    "learning_rate": ("learning_rate", "clip_norm", "adam"),
    "none": (),
}


OPERANDS = ("operand", "second")
SINGULAR = ("div", "true_divide", "reciprocal", "log", "log2", "log10", "rsqrt")
"""Operations that are infinite at a finite place: whatever else they were given, that is what made them so."""


@rule
@dataclass(frozen=True)
class Nonfinite(Rule):
    """A value or a gradient is NaN or infinite.

    What
    ----
    The first tensor of the run with a value that is NaN or infinite: its site, forward or backward, and its step.

    Why it hurts
    ------------
    One NaN gradient makes every weight that the optimizer updates NaN.

    Evidence
    --------
    What the operation at the first site was given and how many values it made NaN or infinite.  Where the step could
    be run again on the side this is exact; else it is the first such site of the next measured step.  The cause is
    the input or the loss where they already hold them.  Where finite values outgrew the number format it is the
    learning rate if the gradient or the values had grown tenfold until then, else what made them large: the input's
    scale, an activation, weights.  Where they were of ordinary size the operation has no value there, or no
    derivative: log 0, 0 / 0, a softmax of nothing, 0 · ∞ (graph).

    Counter-evidence
    ----------------
    A step that a loss scaler skips on purpose while it looks for its scale is not judged at all; an infinity that
    nothing carries on to the loss or to a weight is none: a mask before a softmax, the slope of a root behind a ReLU.

    Cures
    -----
    Repair the data or the operation; where the steps were too long, a lower rate or clipping.

    References
    ----------
    Goldberg (1991), What every computer scientist should know about floating-point arithmetic.
    """

    kind = "nonfinite"

    growth: float = 10.0
    """Origin: one decade; batches of one run vary by a factor of 2 to 3 (empirical)."""
    large: float = 10.0
    """Origin: exp, which grows the fastest of the usual functions, leaves the smallest of the usual formats at 11
    (float16: ln 65,504)."""
    huge: float = 1e19
    """Origin: the square leaves float32, so that an operation may make ∞ - ∞ = NaN of it on the way."""
    steep: float = 1e3
    """Origin: three decades, as for the flow; a gradient of ordinary size that becomes infinite at one operation does
    so by its derivative (empirical)."""

    def check(self, recording: Recording) -> Iterator[Finding]:
        step = next((s.step for s in recording.steps if not math.isfinite(s.gradient_norm)), None)
        origin = recording.origin or _measured(recording)
        if origin is None and step is None:
            return
        began = min(s for s in (step, origin.step if origin else None) if s is not None)
        cause = self._cause(recording, origin, began)
        output = origin.output if origin else None
        yield Finding(
            kind="nonfinite",
            severity="critical",
            cause=cause,
            where=self._where(recording, origin) if origin else "",
            step=began,
            sites=(origin.site,) if origin else (),
            evidence=(
                Evidence("nonfinite_values", float(output.nonfinite if output else 1), None, 0.0, "finite"),
                *(_given(origin) if origin else ()),
                Evidence("finite_steps_before", float(began), None, None, ""),
            ),
            counter_evidence=(Evidence("inexact", 1.0, None, 0.0, "replayed"),) if _is_late(recording, origin) else (),
            cures=self._cures(recording, origin, cause),
            values={
                "count": output.nonfinite if output else 1,
                "of": output.count if output else 1,
                "operation": origin.operation if origin else "",
                "source": f" ({origin.source})" if origin and origin.source else "",
                "norm": max(_norms(recording, began), default=math.nan),
                "largest": max(_largest(recording, began), default=math.nan),
                "rate": recording.steps[0].learning_rate if recording.steps else 0.0,
            },
        )

    def _where(self, recording: Recording, origin: Origin) -> str:
        """The operation; of a derivative, the layer whose weights are the first to receive what it made."""
        layer = self._entry(recording, origin) if origin.direction == "backward" else None
        for snapshot in recording.snapshots if layer is not None else ():
            if layer in snapshot.ledger.entries:
                return layer_of(snapshot.ledger, layer).site.label
        return origin.site

    def _cause(self, recording: Recording, origin: Origin | None, began: int) -> Cause:
        if origin is None:
            return "none"
        if origin.site == "input":
            return "input_scale"
        spoilt = origin.operation in ("parameter", "buffer")
        entry = self._entry(recording, origin)
        of_weights = entry is not None and entry.site.effect == "weights" and origin.direction == "forward"
        if not (spoilt or of_weights or origin.site == "loss" or self._outgrown(origin)):
            return "graph"
        if self._grew(recording, began) or (origin.operation == "parameter" and began > 0):
            return "learning_rate"
        if origin.site == "loss":
            return "loss"
        if origin.direction == "forward" and not spoilt and (entry is None or entry.site.effect == "activation"):
            return "activation"
        return "input_scale" if self._came_large(recording, origin) else "weights"

    def _outgrown(self, origin: Origin) -> bool:
        """Whether what was given was large already; where nothing was read of it, infinities are taken for that."""
        infinite = origin.value == "inf"
        if origin.direction == "backward":
            came = max((r.max for r in origin.inputs[:1]), default=math.inf if infinite else 0.0)
            return came > self.huge or (infinite and came > self.steep)
        largest = max((r.max for r in origin.inputs if r.count > r.nonfinite), default=math.inf)
        return infinite and origin.operation not in SINGULAR and largest > self.large

    @staticmethod
    def _came_large(recording: Recording, origin: Origin) -> bool:
        """Whether the model's input holds more of the decades that an operation was given than the layers added."""
        snapshot = next((s for s in recording.snapshots if s.step >= origin.step), None)
        if snapshot is None or snapshot.inputs is None or not origin.inputs or origin.direction == "backward":
            return False
        size = snapshot.inputs.rms
        return size > LARGE_INPUT and size**2 > origin.inputs[0].rms

    def _cures(self, recording: Recording, origin: Origin | None, cause: Cause) -> tuple[str, ...]:
        """None for a logarithm, a root or a division of the model's own: no other activation mends those."""
        entry = self._entry(recording, origin) if origin is not None and cause == "activation" else None
        if entry is not None and (entry.slope is None or entry.slope.activation not in ACTIVATIONS):
            return ()
        return CURES[cause]

    @staticmethod
    def _entry(recording: Recording, origin: Origin) -> Entry | None:
        return next((e for s in recording.snapshots for e in s.ledger if e.site.label == origin.site), None)

    def _grew(self, recording: Recording, before: int) -> bool:
        """Whether the gradient, or the largest value of the forward pass, had grown by then."""
        return any(z and z[-1] > self.growth * z[0] for z in (_norms(recording, before), _largest(recording, before)))

    @staticmethod
    def sick() -> Example:
        return classify(mlp("relu", depth=2, he=True), inputs=float("inf"))

    @staticmethod
    def healthy() -> Example:
        return classify(mlp("relu", depth=2, he=True), inputs=100.0, lr=1e-4)


def _given(origin: Origin) -> Iterator[Evidence]:
    """The range of what the operation was given, of its first two operands; their sizes where it is not known."""
    back = origin.direction == "backward" and origin.site != "loss"
    if back and origin.inputs:
        yield Evidence("gradient_max", origin.inputs[0].max)
    for name, reading, (low, high) in zip(OPERANDS, origin.inputs[back:], _ranges(origin)[back:], strict=False):
        if low <= high:
            yield Evidence(f"{name}_low", low)
            yield Evidence(f"{name}_high", high)
        elif math.isfinite(reading.max):
            yield Evidence(f"{name}_max", reading.max)


def _ranges(origin: Origin) -> tuple[tuple[float, float], ...]:
    return origin.ranges or ((math.nan, math.nan),) * len(origin.inputs)


def _is_late(recording: Recording, origin: Origin | None) -> bool:
    """Whether the origin was seen after it arose: weights were spoilt in a step whose gradient was not looked at."""
    if origin is None:
        return False
    spoilt = origin.operation in ("parameter", "buffer") and origin.step > 0
    return not origin.exact or (spoilt and all(s.step != origin.step - 1 for s in recording.steps))


def _norms(recording: Recording, before: int) -> list[float]:
    """The sizes of the gradient until then."""
    return [s.gradient_norm for s in recording.steps if s.step < before and math.isfinite(s.gradient_norm)]


def _largest(recording: Recording, before: int) -> list[float]:
    """The largest values of the forward passes until then."""
    return [max((e.forward.max for e in s.ledger), default=0.0) for s in recording.snapshots if s.step < before]


def _measured(recording: Recording) -> Origin | None:
    """The first site of the measured steps, for where the step itself could not be run again."""
    first = next((s.step for s in recording.steps if not math.isfinite(s.gradient_norm)), None)
    sound = {s.step for s in recording.steps if math.isfinite(s.gradient_norm)}
    sound -= {s.step for s in recording.losses if not math.isfinite(s.value)}
    for snapshot in recording.snapshots:
        found = _first(snapshot)
        if found is not None and snapshot.step not in sound:
            return replace(found, exact=first is None or snapshot.step <= first)
    return None


def _first(snapshot: Snapshot) -> Origin | None:
    """Forwards first, and of these only what is carried on; then backwards, where weights receive it."""
    if snapshot.inputs is not None and snapshot.inputs.nonfinite:
        return _origin(snapshot, "input", "input", "forward", snapshot.inputs, ())
    followed = {e.previous for e in snapshot.ledger if e.forward.nonfinite}
    last = snapshot.ledger.entries[-1] if snapshot.ledger.entries else None
    for entry in snapshot.ledger:
        if entry.forward.nonfinite and (entry.site in followed or entry is last):
            before = next((e.forward for e in snapshot.ledger if e.site == entry.previous), snapshot.inputs)
            inputs = (before,) if before is not None else ()
            return _origin(snapshot, entry.site.label, entry.site.operation, "forward", entry.forward, inputs, entry)
    reached = any(e.backward.nonfinite for e in snapshot.ledger if e.site.effect == "weights")
    for entry in reversed(snapshot.ledger.entries if reached else ()):
        if entry.backward.nonfinite:
            site, operation = ("loss", "loss") if entry is last else (entry.site.label, entry.site.operation)
            return _origin(snapshot, site, operation, "backward", entry.backward, (), entry)
    return None


def _origin(
    snapshot: Snapshot,
    site: str,
    operation: str,
    direction: Literal["forward", "backward"],
    made: Reading,
    inputs: tuple[Reading, ...],
    entry: Entry | None = None,
) -> Origin:
    source = entry.site.source if entry else None
    value = "nan" if made.nans else "inf"
    return Origin(snapshot.step, site, operation, direction, value, source, inputs, output=made)
