"""The schema is what its page says, and a change of it is a new version."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from undertow.record.runfile import schema
from undertow.record.runfile.environment import SECRET, VARIABLES

PAGE = (Path(__file__).parents[2] / "docs" / "runfile.md").read_text(encoding="utf-8")
KEPT = Path(__file__).with_name(f"runfile-{schema.VERSION}.sql")


@pytest.fixture(scope="module")
def db():
    with closing(sqlite3.connect(":memory:")) as made:
        for statement in schema.TABLES:
            made.execute(statement)
        yield made


def test_a_change_of_the_columns_is_a_new_version():
    """Before the first release: write the file anew with `python tests/record/test_runfile_schema.py`.  After it:
    raise schema.VERSION first, and teach the reader the older one."""
    assert KEPT.read_text(encoding="utf-8") == ";\n".join(schema.TABLES) + ";\n"


SUMMED_UP = {"steps", "snapshots", "entries", "parameter_readings", "readings", "ledger"}
"""Tables whose columns the page gives by the dataclass, or by the beginnings of their names."""


def test_the_page_names_every_table_and_its_own_columns(db):
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
    assert len(names) == len(schema.TABLES)
    for name in names:
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
        columns = {column for _, column, *_ in db.execute(f"PRAGMA table_info({name})")}
        assert name in SUMMED_UP or columns <= set(re.findall(r"`(\w+)`", row))


def test_the_page_names_the_version_the_variables_and_what_is_hidden():
    assert f"0x{schema.APPLICATION:x}" in PAGE
    assert f"the version of this schema, {schema.VERSION}." in PAGE
    assert all(f"`{name}`" in PAGE for name in (*VARIABLES, *SECRET))


def test_the_question_on_the_page_can_be_asked(db):
    question = PAGE.split("```sql\n")[1].split("```")[0]
    assert db.execute(question).fetchall() == []


if __name__ == "__main__":
    KEPT.write_text(";\n".join(schema.TABLES) + ";\n", encoding="utf-8")
