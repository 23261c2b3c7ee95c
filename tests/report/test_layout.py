"""The layered layout: left to right, nothing on top of anything."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.report.figures.layout import MARGIN, layered


@st.composite
def graphs(draw) -> dict[int, list[int]]:
    """Operations on earlier nodes; the first two are leaves."""
    found: dict[int, list[int]] = {0: [], 1: []}
    for i in range(2, draw(st.integers(3, 14))):
        found[i] = draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True))
    return found


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_edges_go_right_and_nodes_keep_apart(inputs: dict[int, list[int]]) -> None:
    layout = layered(inputs)
    for node, read in inputs.items():
        assert all(layout.column[r] < layout.column[node] for r in read)
    places: dict[int, list[float]] = {}
    for node in inputs:
        places.setdefault(layout.column[node], []).append(layout.row[node])
    for bends in layout.bends.values():
        for column, row in bends:
            places.setdefault(column, []).append(row)
    for rows in places.values():
        rows.sort()
        assert all(b - a >= MARGIN - 1e-9 for a, b in pairwise(rows))
    assert min(layout.row.values()) >= 0


def test_a_long_edge_bends_in_every_column_it_passes() -> None:
    layout = layered({"x": [], "a": ["x"], "b": ["a"], "c": ["b", "x"]})
    assert [c for c, _ in layout.bends["x", "c"]] == [1, 2]
