"""Wider arithmetic for elementwise functions: derivatives by jets, and numbers of 106 bits."""

from undertow.activations.arithmetic import circle, error_function, exponentials  # noqa: F401 they add rules
from undertow.activations.arithmetic.constants import LN_2 as LN_2
from undertow.activations.arithmetic.constants import PI as PI
from undertow.activations.arithmetic.constants import RSQRT_2PI as RSQRT_2PI
from undertow.activations.arithmetic.constants import SQRT_2 as SQRT_2
from undertow.activations.arithmetic.constants import SQRT_2_OVER_PI as SQRT_2_OVER_PI
from undertow.activations.arithmetic.constants import SQRT_HALF as SQRT_HALF
from undertow.activations.arithmetic.constants import TWO_OVER_SQRT_PI as TWO_OVER_SQRT_PI
from undertow.activations.arithmetic.constants import Exact as Exact
from undertow.activations.arithmetic.jet import Jet as Jet
from undertow.activations.arithmetic.jet import jet as jet
from undertow.activations.arithmetic.twofold import Twofold as Twofold
from undertow.activations.arithmetic.twofold import twofold as twofold
from undertow.activations.arithmetic.vocabulary import Duck as Duck
from undertow.activations.arithmetic.vocabulary import OutsideVocabulary as OutsideVocabulary
