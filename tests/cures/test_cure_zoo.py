"""Every cure on models of every kind: it trains on, or says in one sentence why it does not apply."""

import ast

import pytest
import torch
from zoo import ZOO

from undertow.cures import Cure, NotApplicableError, Training, all_cures
from undertow.cures.training import batches_afresh, check
from undertow.cures.trials.loop import loop

FAST = {"conv2d", "transformer", "groups"}
MODELS = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in ZOO]


def cured(cure: Cure, given: Training) -> Training | str:
    """The reason where it does not apply."""
    reason = cure.applies(given)
    try:
        training = cure.apply(given)
    except NotApplicableError as error:
        return error.reason
    assert reason is None
    return training


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch.compile imports what it deprecates
@pytest.mark.parametrize("name", MODELS)
def test_every_cure_applies_or_says_why_not(name: str):
    torch.manual_seed(0)
    given = check(ZOO[name]())
    before = [p.detach().clone() for p in given.model.parameters()]
    applied = []
    for cure in all_cures():
        training = cured(cure, given)
        if isinstance(training, str):
            assert training.strip()
            assert "\n" not in training
            continue
        applied.append(cure.name)
        batches = list(batches_afresh(training))[:2]
        assert loop(training, batches, []) == "", cure.label
        gradients = [p.grad for p in training.model.parameters() if p.grad is not None]
        assert gradients, cure.label
        assert all(torch.isfinite(g).all() for g in gradients), cure.label
        frozen = [p for p in given.model.parameters() if not p.requires_grad]
        assert len([p for p in training.model.parameters() if not p.requires_grad]) == len(frozen)
        ast.parse(cure.patch(given))
    assert len(applied) > 5
    assert all(torch.equal(a, b) for a, b in zip(before, given.model.parameters(), strict=True))
