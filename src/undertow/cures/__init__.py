"""Changes that may help, and trials that prove it on the user's own model."""

from undertow.cures.cure import CURES as CURES
from undertow.cures.cure import Cure as Cure
from undertow.cures.cure import NotApplicableError as NotApplicableError
from undertow.cures.cure import all_cures as all_cures
from undertow.cures.cure import chosen as chosen
from undertow.cures.search.search import cure as cure
from undertow.cures.training import Training as Training
from undertow.cures.trials.effects import Effects as Effects
from undertow.cures.trials.trial import Trial as Trial
from undertow.cures.trials.trial import run as run
from undertow.cures.trials.verdict import Outcome as Outcome
from undertow.cures.trials.verdict import Verdict as Verdict
from undertow.cures.trials.verdict import Verdicts as Verdicts
