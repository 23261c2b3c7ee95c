"""Sites, readings and recordings: what was measured, where and when."""

from undertow.record.reading import Reading as Reading
from undertow.record.reading import Slope as Slope
from undertow.record.site import Site as Site
