"""What is known of an activation function, as data, as lines of text, as a page."""

from undertow.report.activations.datasheet import Datasheet as Datasheet
from undertow.report.activations.datasheet import datasheet as datasheet
from undertow.report.activations.datasheet import families as families
from undertow.report.activations.properties import PROPERTIES as PROPERTIES
from undertow.report.activations.words import facts as facts
from undertow.report.activations.words import gains as gains
