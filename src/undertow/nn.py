"""Layers: `ActivationLayer(definition)`, which `activation(name).layer()` makes; the funnel; the lean ones."""

from undertow.activations.layers import GEGLU as GEGLU
from undertow.activations.layers import ActivatedConv1d as ActivatedConv1d
from undertow.activations.layers import ActivatedConv2d as ActivatedConv2d
from undertow.activations.layers import ActivatedConv3d as ActivatedConv3d
from undertow.activations.layers import ActivatedLinear as ActivatedLinear
from undertow.activations.layers import ActivationLayer as ActivationLayer
from undertow.activations.layers import FunnelReLU as FunnelReLU
from undertow.activations.layers import GatedMLP as GatedMLP
from undertow.activations.layers import ReGLU as ReGLU
from undertow.activations.layers import SwiGLU as SwiGLU
