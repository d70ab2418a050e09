import pytest

from charlm.data.system.errors import SettingsError
from charlm.data.text.escapes import escape_in, unescaped


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"a\nb\t", "a\nb\t"),
        (r"\x41\u20ac", "A€"),
        (r"\\n", r"\n"),
        ("a line\nend and ünicode", "a line\nend and ünicode"),
    ],
)
def test_escapes_are_the_characters_that_they_stand_for(typed: str, meant: str) -> None:
    assert unescaped(typed) == meant


@pytest.mark.parametrize("typed", [r"\q", r"\x4", r"\u20a", "end\\"])
def test_anything_else_after_a_backslash_is_refused(typed: str) -> None:
    with pytest.raises(SettingsError, match=r"`escapes` knows .* not \\"):
        unescaped(typed)
    assert escape_in(typed) is None


def test_the_first_escape_is_found() -> None:
    assert escape_in(r"a\qb\nc\t") == r"\n"
