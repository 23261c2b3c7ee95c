"""Changes that may help, and trials that prove it on the user's own model."""

from undertow.cures.training import Training as Training
from undertow.cures.verdict import Verdict as Verdict
from undertow.cures.verdict import Verdicts as Verdicts
