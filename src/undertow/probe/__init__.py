"""Observing real models: taps, the ledger, the watch. No theory."""

from undertow.probe.ledger import Entry as Entry
from undertow.probe.ledger import Ledger as Ledger
