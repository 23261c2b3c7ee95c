import pytest

from undertow.foundation import Registry, UndertowError, UnknownNameError
from undertow.foundation.registry import normalised


@pytest.fixture
def fruits():
    registry: Registry[int] = Registry("fruit", "fruits list")
    registry.add("apple", 1, ("red-fruit",))
    registry.register("pear")(2)
    registry.register("pineapple", "ananas")(3)
    return registry


def test_names_and_aliases_ignore_case_and_punctuation(fruits):
    assert normalised("Leaky-ReLU") == normalised("leaky_relu") == "leakyrelu"
    assert fruits["Red_Fruit"] == fruits["APPLE"] == 1
    assert "ana nas" in fruits
    assert "plum" not in fruits


def test_order_is_that_of_registration(fruits):
    assert list(fruits) == ["apple", "pear", "pineapple"]
    assert fruits.items() == [("apple", 1), ("pear", 2), ("pineapple", 3)]
    assert len(fruits) == 3


def test_an_unknown_name_names_the_nearest(fruits):
    with pytest.raises(UnknownNameError) as caught:
        fruits["aple"]
    assert str(caught.value) == (
        "got the fruit 'aple'; expected one of 3 known names. "
        "Try: 'apple' or 'pineapple' or 'pear' (fruits list lists all)"
    )
    assert isinstance(caught.value, LookupError)
    assert isinstance(caught.value, UndertowError)


def test_a_name_near_nothing_points_to_the_list(fruits):
    with pytest.raises(UnknownNameError, match=r"Try: fruits list$"):
        fruits["zzzz"]


def test_one_name_means_one_thing(fruits):
    with pytest.raises(ValueError, match="two fruits named 'Apple'"):
        fruits.add("Apple", 4)
