"""Data that ships with the package, the networks of the article, and the demo."""

from undertow.demo.digits import Split as Split
from undertow.demo.digits import digits as digits
from undertow.demo.digits import split as split
from undertow.demo.networks import training as training
from undertow.demo.run import run as run
