"""Characters as token ids, and back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.system.errors import VocabularyError
from charlm.data.text.bits import in_bits
from charlm.data.text.vocabulary import Vocabulary, code_points

characters = st.characters(exclude_categories=["Cs"])
texts = st.text(characters, min_size=1)


@given(text=texts)
def test_text_to_ids_and_back(text: str) -> None:
    vocabulary = Vocabulary(text)
    ids = vocabulary.encode(text)
    assert ids.dtype == vocabulary.dtype
    assert ids.shape == (len(text),)
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode(ids.astype(np.int64)) == text
    assert vocabulary.decode(ids.tolist()) == text


@given(text=texts)
def test_ids_are_places_in_code_point_order(text: str) -> None:
    vocabulary = Vocabulary(text)
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == ""
    assert list(vocabulary.characters) == sorted(set(text))
    assert vocabulary.encode(text).tolist() == [sorted(set(text)).index(c) for c in text]
    assert [vocabulary.id_of(c) for c in vocabulary.characters] == list(range(len(vocabulary)))


@given(text=texts)
def test_json_and_back(text: str) -> None:
    vocabulary = Vocabulary(text)
    assert json.loads(vocabulary.to_json()) == list(vocabulary.characters)
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


@given(known=texts, text=st.text(characters), data=st.data())
def test_characters_outside_are_dropped_or_replaced(
    known: str, text: str, data: st.DataObject
) -> None:
    vocabulary = Vocabulary(known)
    kept = "".join(c for c in text if c in known)
    assert vocabulary.decode(vocabulary.encode(text, unknown="drop")) == kept
    assert vocabulary.lacks(text) == len(text) - len(kept)
    stand_in = data.draw(st.sampled_from(vocabulary.characters))
    replaced = "".join(c if c in known else stand_in for c in text)
    assert vocabulary.decode(vocabulary.encode(text, unknown=stand_in)) == replaced


def test_an_unknown_character_is_named_with_its_position() -> None:
    with pytest.raises(
        VocabularyError,
        match=r"'é' \(U\+00E9\) at position 5 \(from 0, as normalised\), in 'Iä! Fé!'",
    ):
        Vocabulary("I ä!F").encode("Iä! Fé!")


@pytest.mark.parametrize("beyond", ["a", "m", "𐍈", "\ud800"])
def test_below_between_and_beyond_the_known(beyond: str) -> None:
    with pytest.raises(VocabularyError, match="position 1"):
        Vocabulary("bz").encode(f"b{beyond}z")


def test_a_stand_in_must_be_known_itself() -> None:
    with pytest.raises(VocabularyError, match=r"'\?' is not one of the model's 2 characters: a b"):
        Vocabulary("ab").encode("abc", unknown="?")


def test_none_of_all_latin_characters_is_taken_for_absent() -> None:
    every = "".join(map(chr, range(256)))
    assert Vocabulary(every).lacks(every) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_an_id_past_the_last_is_no_character(dtype: type) -> None:
    with pytest.raises(IndexError):
        Vocabulary("ab").decode(np.array([2], dtype))


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(1, np.uint8), (256, np.uint8), (257, np.uint16), (65_536, np.uint16), (65_537, np.uint32)],
)
def test_the_smallest_type_that_fits(size: int, dtype: type) -> None:
    vocabulary = Vocabulary(chr(0x10000 + i) for i in range(size))
    assert vocabulary.dtype == np.dtype(dtype)
    last = vocabulary.encode(vocabulary.characters[-1])
    assert last.dtype == np.dtype(dtype)
    assert last.tolist() == [size - 1]


@pytest.mark.parametrize("characters", [[], [""], ["ab"], ["a", "\ud800"]])
def test_what_is_no_vocabulary(characters: list[str]) -> None:
    with pytest.raises(VocabularyError):
        Vocabulary(characters)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": 0}',
        "[]",
        "[1, 2]",
        '["b", "a"]',
        '["a", "a"]',
        '["ab"]',
        '["\\ud800"]',
        "[" * 100_000,
        f"[{'9' * 10_000}]",
    ],
)
def test_what_is_no_vocabulary_in_json(text: str) -> None:
    with pytest.raises(VocabularyError):
        Vocabulary.from_json(text)


def test_equality_follows_the_characters() -> None:
    assert Vocabulary("cab") == Vocabulary("abcabc")
    assert hash(Vocabulary("cab")) == hash(Vocabulary("abc"))
    assert Vocabulary("ab") != Vocabulary("abc")
    assert Vocabulary("ab") != ("a", "b")


def test_a_message_shows_characters_readably_and_not_thousands() -> None:
    assert Vocabulary("a\n\t b\u200b").shown() == r"\t \n   a b \u200b"
    shown = Vocabulary(chr(0x4E00 + i) for i in range(5000)).shown()
    assert shown.startswith("一 丁")
    assert shown.endswith(" …")
    assert len(shown) < 1000


def test_code_points_of_any_string() -> None:
    points = code_points("a\ud800𐍈")
    assert points.dtype == np.uint32
    assert points.tolist() == [0x61, 0xD800, 0x10348]


def test_a_bit_is_a_choice_of_two() -> None:
    nats = -np.log([0.5, 0.25, 1.0])
    assert in_bits(nats) == pytest.approx([1, 2, 0])
    assert in_bits(float(nats[1])) == pytest.approx(2)
