"""From measurements to findings."""

from undertow.diagnosis.finding import Diagnosis as Diagnosis
from undertow.diagnosis.finding import Evidence as Evidence
from undertow.diagnosis.finding import Finding as Finding
from undertow.diagnosis.finding import NotObserved as NotObserved
