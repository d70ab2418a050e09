"""Copies of a corpus in texts, against looking for every substring; divergences of n-grams."""

import numpy as np
import pytest

from charlm.train.report.likeness import (
    SHARES,
    Copies,
    distances,
    divergence,
    find_copies,
    of_characters,
)


def ids(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def copies(corpus: str, **texts: list[str]) -> tuple[Copies, ...]:
    encoded = {name: list(map(ids, named)) for name, named in texts.items()}
    blanks = np.array([chr(code).isspace() for code in range(128)])
    return find_copies(ids(corpus), encoded, blanks, lambda found: bytes(found).decode())


def by_looking(corpus: str, text: str, length: int) -> list[bool]:
    return [text[n : n + length] in corpus for n in range(len(text) - length + 1)]


@pytest.mark.parametrize("letters", [1, 2, 3, 20])
def test_copies_are_what_looking_finds(letters: int) -> None:
    random = np.random.default_rng(letters)
    for _ in range(8):
        corpus, one, two = (
            "".join(chr(97 + k) for k in random.integers(0, letters, random.integers(1, 60)))
            for _ in range(3)
        )
        two += corpus[3:30] + two
        first, both = copies(corpus, first=[one], both=[one, two])
        assert (first.characters, both.characters) == (len(one), len(one + two))
        for found, texts in ((first, [one]), (both, [one, two])):
            assert any(found.text in text for text in texts)
            assert found.text in corpus
            assert len(found.text) == found.longest
            assert not any(any(by_looking(corpus, t, found.longest + 1)) for t in texts)
            for length in SHARES:
                hits = [hit for text in texts for hit in by_looking(corpus, text, length)]
                assert found.shares.get(length) == (np.mean(hits) if hits else None)


def test_a_text_is_no_copy_of_another_text() -> None:
    (found,) = copies("abc", both=["xyzxyz" * 4, "xyzxyz" * 4])
    assert (found.longest, found.text, set(found.shares.values())) == (0, "", {0.0})


def test_the_first_of_the_longest_copies_is_shown() -> None:
    (found,) = copies("once upon a time, a man", all=["upon ??", "a time;upon a", "a man"])
    assert (found.longest, found.text) == (6, "a time")
    (found,) = copies("ab", all=["abab"])
    assert (found.longest, found.text) == (2, "ab"), "the ends of the corpus are ends"


def test_runs_of_blanks_are_no_copy() -> None:
    (found,) = copies("if a:" + " " * 60 + "b", all=["x" + " " * 60 + "y"])
    assert found.longest == 1
    (found,) = copies("if a:\n    return b", all=["q:\n        return b"])
    assert (found.longest, found.text) == (10, ":\n        return b")


def test_the_same_is_zero_and_nothing_in_common_is_one() -> None:
    assert divergence(np.array([1, 3]), np.array([10, 30])) == pytest.approx(0, abs=1e-12)
    assert divergence(np.array([1, 3, 0]), np.array([0, 0, 5])) == pytest.approx(1)


def test_a_value_worked_by_hand() -> None:
    # P = (1, 0), Q = (1/2, 1/2), M = (3/4, 1/4)
    expected = 0.5 * np.log2(4 / 3) + 0.5 * (0.5 * np.log2(2 / 3) + 0.5 * np.log2(2))
    assert divergence(np.array([4, 0]), np.array([7, 7])) == pytest.approx(expected)


def test_characters_count_ngrams_and_not_their_places() -> None:
    left, right = np.array([0, 1, 0, 1, 0]), np.array([1, 0, 1, 0, 1])
    assert of_characters(left, right, 3, 2) == pytest.approx(
        divergence(np.array([2, 1]), np.array([1, 2]))
    )
    assert of_characters(left, left, 4, 2) == 0


def test_words_are_compared_without_case() -> None:
    one, other = "The cat, the hat", "the HAT; the cat"
    same = np.zeros(len(one), dtype=np.uint8)
    found = distances(same, one, same, other, 1)
    assert found["1 word"] == 0
    assert found["2 words"] > 0
    assert list(found)[:4] == ["1 character", "2 characters", "3 characters", "4 characters"]


def test_a_text_without_words_has_no_distance_of_words() -> None:
    same = np.zeros(6, dtype=np.uint8)
    assert set(distances(same, "......", same, "one. .", 1)) == {
        "1 character", "2 characters", "3 characters", "4 characters",
    }  # fmt: skip
