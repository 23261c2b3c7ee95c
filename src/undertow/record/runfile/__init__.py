"""The run file: one SQLite file a run, written while it lasts, read back whole."""

from undertow.record.runfile.reader import Saved as Saved
from undertow.record.runfile.reader import opened as opened
from undertow.record.runfile.reader import read as read
from undertow.record.runfile.writer import RunFile as RunFile
