import string

import pytest

from undertow.foundation import LANGUAGES, InputError, current_language, knows, language, say
from undertow.foundation.messages import catalogue


def placeholders(message: str) -> set[str]:
    return {name.split(".")[0].split("[")[0] for _, name, _, _ in string.Formatter().parse(message) if name is not None}


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_every_language_has_the_same_messages_and_placeholders(code):
    english, other = catalogue("en"), catalogue(code)
    assert english.keys() == other.keys()
    differing = {key for key in english if placeholders(english[key]) != placeholders(other[key])}
    assert not differing


def test_korean_messages_are_korean():
    english, korean = catalogue("en"), catalogue("ko")
    sentences = {key for key, text in english.items() if text.endswith(".")}
    assert sentences
    assert not {key for key in sentences if not any("가" <= letter <= "힣" for letter in korean[key])}


def test_the_language_lasts_as_long_as_its_block():
    assert say("cli.error") == "error"
    with language("ko"):
        assert current_language() == "ko"
        assert say("cli.error") == "오류"
        assert knows("cli.error")
    assert current_language() == "en"


def test_values_are_filled_in():
    assert say("cli.written", path="a.svg") == "written: a.svg"


def test_unknown_languages_and_messages_are_refused():
    with pytest.raises(InputError, match=r"'fr'.*en, ko"), language("fr"):
        pass
    assert not knows("cli.nothing")
    with pytest.raises(KeyError):
        say("cli.nothing")
