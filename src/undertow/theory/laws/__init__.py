"""Laws of propagation, a file a kind of operation; each says how moments pass it forward and backward."""

from undertow.theory.laws.activation import Activate as Activate
from undertow.theory.laws.activation import Spelt as Spelt
from undertow.theory.laws.addition import Add as Add
from undertow.theory.laws.addition import Scale as Scale
from undertow.theory.laws.attention import Attention as Attention
from undertow.theory.laws.base import LAWS as LAWS
from undertow.theory.laws.base import WHOLE as WHOLE
from undertow.theory.laws.base import Call as Call
from undertow.theory.laws.base import Law as Law
from undertow.theory.laws.base import Slot as Slot
from undertow.theory.laws.base import law as law
from undertow.theory.laws.base import law_of as law_of
from undertow.theory.laws.batch import BatchNorm as BatchNorm
from undertow.theory.laws.contraction import Contraction as Contraction
from undertow.theory.laws.dropout import Dropout as Dropout
from undertow.theory.laws.given import Embedding as Embedding
from undertow.theory.laws.given import Given as Given
from undertow.theory.laws.layout import Moved as Moved
from undertow.theory.laws.linear import Linear as Linear
from undertow.theory.laws.normalisation import GroupNorm as GroupNorm
from undertow.theory.laws.normalisation import UnitNorm as UnitNorm
from undertow.theory.laws.product import Halves as Halves
from undertow.theory.laws.product import Product as Product
from undertow.theory.laws.softmax import Hidden as Hidden
from undertow.theory.laws.softmax import Softmax as Softmax
from undertow.theory.laws.unknown import Bridged as Bridged
