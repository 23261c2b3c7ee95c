"""Sites, readings, ledgers and recordings: what was measured, where and when."""

from undertow.record.ledger import Entry as Entry
from undertow.record.ledger import Ledger as Ledger
from undertow.record.reading import AttentionReading as AttentionReading
from undertow.record.reading import Reading as Reading
from undertow.record.reading import Slope as Slope
from undertow.record.reading import TimeReading as TimeReading
from undertow.record.recording import Event as Event
from undertow.record.recording import LossReading as LossReading
from undertow.record.recording import NotObserved as NotObserved
from undertow.record.recording import Origin as Origin
from undertow.record.recording import ParameterReading as ParameterReading
from undertow.record.recording import Recording as Recording
from undertow.record.recording import Sink as Sink
from undertow.record.recording import Snapshot as Snapshot
from undertow.record.recording import Stage as Stage
from undertow.record.recording import StepReading as StepReading
from undertow.record.site import Site as Site
from undertow.record.spread import RankReading as RankReading
from undertow.record.spread import Spread as Spread
from undertow.record.state import ParameterState as ParameterState
from undertow.record.wiring import Cut as Cut
from undertow.record.wiring import Term as Term
from undertow.record.wiring import Twins as Twins
from undertow.record.wiring import Unreached as Unreached
from undertow.record.wiring import Wiring as Wiring
