"""Which activation is this name, module, function, call or part of a graph; and another in its place."""

from undertow.activations.recognition.calls import recognise_call as recognise_call
from undertow.activations.recognition.graph import Match as Match
from undertow.activations.recognition.graph import recognise_graph as recognise_graph
from undertow.activations.recognition.recognise import recognise as recognise
from undertow.activations.recognition.swap import Swap as Swap
from undertow.activations.recognition.swap import substitute as substitute
from undertow.activations.recognition.swap import swap as swap
