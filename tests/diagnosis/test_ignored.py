import pytest

from undertow.diagnosis.ignored import split_ignored
from undertow.foundation import Finding, UnknownNameError

DEAD = Finding("dead", "critical", "weights", "blocks.3.act", 0)
FLAT = Finding("saturated", "warning", "weights", "0 (linear)", 0)


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("dead", (FLAT,)),
        ("dead:blocks.3.*", (FLAT,)),
        ("dead:blocks.4.*", (DEAD, FLAT)),
        ("saturated:0", (DEAD,)),
        ("saturated:0 (linear)", (DEAD,)),
        ("*", ()),
        ("*:blocks.*", (FLAT,)),
    ],
)
def test_a_pattern_takes_out_what_it_names(pattern, kept):
    counted, ignored, unused = split_ignored((DEAD, FLAT), [pattern])
    assert counted == kept
    assert set(counted) | set(ignored) == {DEAD, FLAT}
    assert unused == ((pattern,) if len(kept) == 2 else ())


def test_an_unknown_kind_is_refused():
    with pytest.raises(UnknownNameError, match="deadd"):
        split_ignored((), ["deadd:x"])
