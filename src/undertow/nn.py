"""Layers: `ActivationLayer(definition)`, which `activation(name).layer()` makes, and the funnel."""

from undertow.activations import ActivationLayer as ActivationLayer
from undertow.activations import FunnelReLU as FunnelReLU
