"""Data that ships with the package, and the networks of the article."""

from undertow.demo.digits import Split as Split
from undertow.demo.digits import digits as digits
from undertow.demo.digits import split as split
