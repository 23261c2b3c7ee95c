"""The calls at which values of trained weights leave the graph, in the user's source."""

from __future__ import annotations

from copy import deepcopy

from undertow.cures.surgery.calls import Call, calls
from undertow.cures.training import Training, first_batch
from undertow.cures.trials.seeding import random_state_kept
from undertow.diagnosis import examine
from undertow.foundation import UndertowError


def cut_calls(training: Training) -> list[Call]:
    """Those behind which lie weights that the optimizer holds and that get no gradient."""
    held = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
    trained = {name for name, p in training.model.named_parameters() if id(p) in held}
    model, loss = deepcopy((training.model, training.loss))
    with random_state_kept():
        try:
            recording = examine(model, first_batch(training), loss).recording
        except UndertowError:  # a first batch that shows nothing names no cut either
            return []
    wiring = recording.wiring if recording else None
    cuts = [u.cut for u in (wiring.unreached if wiring else ()) if u.cut and u.parameter in trained]
    wanted = {(cut.operation if cut.operation != "no_grad" else None, cut.module, cut.source) for cut in cuts}
    return [
        call
        for call in (calls(training) if wanted else ())
        if (place := call.place if call.graded else call.caller)
        and (call.name if call.graded else None, call.path, place.short) in wanted
    ]
