"""Activation functions, each defined once; names, layers and measured traits follow from the definitions."""

# The families are imported in the order in which `undertow activations list` shows them.
# isort: off
from undertow.activations.sigmoidal import Sigmoid as Sigmoid
from undertow.activations.sigmoidal import Tanh as Tanh
from undertow.activations.rectified import ReLU as ReLU
from undertow.activations.rectified import LeakyReLU as LeakyReLU
from undertow.activations.rectified import PReLU as PReLU
from undertow.activations.rectified import Identity as Identity
from undertow.activations.exponential import ELU as ELU
from undertow.activations.gated import Swish as Swish
from undertow.activations.spatial import FReLU as FReLU
from undertow.activations.normalising import Softmax as Softmax

# isort: on
from undertow.activations.base import ACTIVATIONS as ACTIVATIONS
from undertow.activations.base import Activation as Activation
from undertow.activations.base import Pointwise as Pointwise
from undertow.activations.base import applied as applied
from undertow.activations.custom import Custom as Custom
from undertow.activations.layer import ActivationLayer as ActivationLayer
from undertow.activations.layer import FunnelReLU as FunnelReLU
from undertow.activations.lookup import activation as activation
from undertow.activations.lookup import names as names
from undertow.activations.recognise import recognise as recognise
from undertow.activations.recognise import recognise_call as recognise_call
from undertow.activations.traits import Traits as Traits
from undertow.activations.traits import traits as traits
