import os
import stat

import pytest

from undertow.foundation import OutputError
from undertow.foundation.outputs import writable, writable_folder


def test_a_writable_path_comes_back_and_nothing_is_left(tmp_path):
    assert writable(tmp_path / "a.svg") == tmp_path / "a.svg"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_keeps_its_content(tmp_path):
    (tmp_path / "a.svg").write_text("kept")
    writable(str(tmp_path / "a.svg"))
    assert (tmp_path / "a.svg").read_text() == "kept"


@pytest.mark.parametrize("name", ["missing/a.svg", "", "x" * 300, "nul\0byte"])
def test_a_path_that_cannot_be_written(tmp_path, name):
    with pytest.raises(OutputError, match=r"got the output .*expected a file in a folder.*Try: -o"):
        writable(f"{tmp_path}/{name}")


def test_a_folder_is_made_with_its_parents(tmp_path):
    assert writable_folder(tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="expected a folder"):
            writable_folder(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OutputError, match="Permission denied"):
        writable(tmp_path / "a.svg")
