"""From measurements to findings."""

from undertow.diagnosis.comparison import Compared as Compared
from undertow.diagnosis.comparison import Comparison as Comparison
from undertow.diagnosis.comparison import compare as compare
from undertow.diagnosis.comparison import measured as measured
from undertow.diagnosis.comparison import one_pass as one_pass
from undertow.diagnosis.diagnosis import Diagnosis as Diagnosis
from undertow.diagnosis.judge import judge as judge
from undertow.diagnosis.rule import RULES as RULES
from undertow.diagnosis.rule import Rule as Rule
from undertow.diagnosis.rule import all_rules as all_rules
from undertow.diagnosis.run import Run as Run
from undertow.diagnosis.run import examine as examine
from undertow.diagnosis.run import watch as watch
from undertow.diagnosis.saved import SavedRun as SavedRun
from undertow.diagnosis.saved import load as load
from undertow.foundation import Evidence as Evidence
from undertow.foundation import Finding as Finding
from undertow.foundation import NotJudged as NotJudged
from undertow.record import NotObserved as NotObserved
