"""`torch.nn` layers of activations, and layers that compute an activation again instead of keeping its result."""

from undertow.activations.layers.activated import ActivatedConv1d as ActivatedConv1d
from undertow.activations.layers.activated import ActivatedConv2d as ActivatedConv2d
from undertow.activations.layers.activated import ActivatedConv3d as ActivatedConv3d
from undertow.activations.layers.activated import ActivatedLinear as ActivatedLinear
from undertow.activations.layers.glu import GEGLU as GEGLU
from undertow.activations.layers.glu import GatedMLP as GatedMLP
from undertow.activations.layers.glu import ReGLU as ReGLU
from undertow.activations.layers.glu import SwiGLU as SwiGLU
from undertow.activations.layers.layer import ActivationLayer as ActivationLayer
from undertow.activations.layers.layer import FunnelReLU as FunnelReLU
from undertow.activations.layers.lean import LeanAccount as LeanAccount
from undertow.activations.layers.lean import lean as lean
