"""Stop strings, against the plainest way to find them."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.system.errors import SettingsError, VocabularyError
from charlm.infer.generator import Generator
from charlm.infer.sampling import stops

texts = st.text("ab ", max_size=30)
strings = st.lists(st.text("ab ", min_size=1, max_size=5), max_size=4).map(tuple)


def plainly(text: str, wanted: tuple[str, ...]) -> tuple[int, str] | None:
    """Character by character: the first time that the text so far ends with a stop string."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in wanted if text[:end].endswith(stop)]
        if ending:
            longest = max(ending, key=len)
            return end - len(longest), longest
    return None


@given(st.lists(st.text("ab ", max_size=9), max_size=9), strings)
def test_a_text_ends_before_it(pieces: list[str], wanted: tuple[str, ...]) -> None:
    """In whatever pieces the text comes."""
    text = "".join(pieces)
    found = plainly(text, wanted)
    assert "".join(stops.until(pieces, wanted)) == (text if found is None else text[: found[0]])
    finder = stops.StopFinder(wanted)
    for piece in pieces:
        finder.take(piece)
        if finder.found is not None:
            break
    assert (None if finder.found is None else wanted[finder.found]) == (found and found[1])


@given(texts, strings)
def test_what_is_held_back_is_the_longest_beginning(text: str, wanted: tuple[str, ...]) -> None:
    if plainly(text, wanted):
        return
    finder = stops.StopFinder(wanted)
    assert finder.take(text) + finder.held == text
    lengths = [
        n
        for n in range(len(text) + 1)
        if n == 0 or any(len(stop) > n and stop.startswith(text[-n:]) for stop in wanted)
    ]
    assert len(finder.held) == max(lengths)


def test_text_comes_as_soon_as_it_is_certain() -> None:
    read: list[str] = []

    def characters() -> Iterator[str]:
        for character in "xabay":
            read.append(character)
            yield character

    shown = [(len(read), piece) for piece in stops.until(characters(), ("abc",)) if piece]
    assert shown == [(1, "x"), (4, "ab"), (5, "ay")]


def test_they_are_normalised_as_prompts_are(small: Generator) -> None:
    assert stops.normalised(("THE\n End", "é"), small.metadata) == ("the end", "é")
    assert stops.normalised(["The"], small.metadata) == ("the",)
    assert stops.normalised((), small.metadata) == ()


@pytest.mark.parametrize(
    ("given_stop", "error", "saying"),
    [
        ("", SettingsError, "the stop string '' is empty$"),
        ("\n\n", SettingsError, "empty once it is normalised"),
        ("end?", VocabularyError, r"'end\?' can never come: '\?' \(U\+003F\) is not one of"),
    ],
)
def test_one_that_can_not_come_is_refused(
    small: Generator, given_stop: str, error: type[Exception], saying: str
) -> None:
    with pytest.raises(error, match=saying):
        stops.normalised(("the", given_stop), small.metadata)
    with pytest.raises(error, match=saying):
        small.stream("a", stop=given_stop)


def test_a_stream_ends_before_its_stop_string(small: Generator) -> None:
    whole = small.text("a", length=200, seed=1)
    stop = whole[50:53]
    end = whole.index(stop)
    assert small.text("a", length=200, seed=1, stop=stop) == whole[:end]
    assert "".join(small.stream("a", length=0, seed=1, stop=("zzzzz", stop))) == whole[:end]
    assert small.text("a", length=end + 2, seed=1, stop=stop) == whole[: end + 2]
