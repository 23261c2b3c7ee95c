"""What every room stands on: errors, registries, words, messages, seeds."""

from undertow.foundation.errors import BatchError as BatchError
from undertow.foundation.errors import InputError as InputError
from undertow.foundation.errors import LossError as LossError
from undertow.foundation.errors import ModelError as ModelError
from undertow.foundation.errors import NothingObservedError as NothingObservedError
from undertow.foundation.errors import OutputError as OutputError
from undertow.foundation.errors import StoppedError as StoppedError
from undertow.foundation.errors import TrainingError as TrainingError
from undertow.foundation.errors import UndertowError as UndertowError
from undertow.foundation.errors import UnknownNameError as UnknownNameError
from undertow.foundation.finding import Evidence as Evidence
from undertow.foundation.finding import Finding as Finding
from undertow.foundation.finding import NotJudged as NotJudged
from undertow.foundation.messages import LANGUAGES as LANGUAGES
from undertow.foundation.messages import current_language as current_language
from undertow.foundation.messages import knows as knows
from undertow.foundation.messages import language as language
from undertow.foundation.messages import say as say
from undertow.foundation.reference import Reference as Reference
from undertow.foundation.registry import Registry as Registry
from undertow.foundation.vocabulary import EFFECTS as EFFECTS
from undertow.foundation.vocabulary import Cause as Cause
from undertow.foundation.vocabulary import Confidence as Confidence
from undertow.foundation.vocabulary import Effect as Effect
from undertow.foundation.vocabulary import Kind as Kind
from undertow.foundation.vocabulary import Severity as Severity
