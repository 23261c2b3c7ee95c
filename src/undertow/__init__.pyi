__version__: str

from . import activations as activations
from . import blueprint as blueprint
from . import init as init
from . import nn as nn
from . import theory as theory
from .activations import activation as activation
from .activations import lean as lean
from .cures import Training as Training
from .cures import Verdict as Verdict
from .cures import Verdicts as Verdicts
from .cures import cure as cure
from .diagnosis import Diagnosis as Diagnosis
from .diagnosis import Finding as Finding
from .diagnosis import examine as examine
from .diagnosis import load as load
from .diagnosis import watch as watch
from .foundation import UndertowError as UndertowError
from .probe import Ledger as Ledger
from .report import report as report
from .theory import Forecast as Forecast
from .theory import forecast as forecast
from .theory import gain as gain
