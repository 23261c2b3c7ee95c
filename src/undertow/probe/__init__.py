"""Observing real models: taps, the ledger, the watch. No theory."""

from undertow.probe.objective import Objective as Objective
from undertow.probe.objective import check_trainable as check_trainable
from undertow.probe.objective import objective as objective
from undertow.probe.observer import Observer as Observer
from undertow.probe.single import measure as measure
from undertow.probe.tracing.account import Account as Account
from undertow.probe.tracing.trace import Trace as Trace
from undertow.record import Entry as Entry
from undertow.record import Ledger as Ledger
