"""The report of a search for a cure."""

from undertow.report.cures.data import verdicts_data as verdicts_data
from undertow.report.cures.document import verdicts_document as verdicts_document
from undertow.report.cures.outcome import FINE as FINE
from undertow.report.cures.outcome import Ending as Ending
from undertow.report.cures.outcome import ending as ending
from undertow.report.cures.outcome import headline as headline
from undertow.report.cures.outcome import instead as instead
from undertow.report.cures.tables import verdict_table as verdict_table
