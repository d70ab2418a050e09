"""Copies of a corpus in texts, against looking for every substring."""

import numpy as np
import pytest

from charlm.train.report import copies
from charlm.train.report.copies import copied_lengths


def ids(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def by_looking(corpus: str, text: str) -> list[int]:
    lengths = []
    for start in range(len(text)):
        length = 0
        while start + length < len(text) and text[start : start + length + 1] in corpus:
            length += 1
        lengths.append(length)
    return lengths


@pytest.mark.parametrize("letters", [2, 3, 20])
@pytest.mark.parametrize("safe", [2**62, 2**12])  # names that fit, and names made dense
def test_it_is_what_looking_finds(letters: int, safe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "SAFE", safe)
    random = np.random.default_rng(letters)
    for _ in range(20):
        corpus, one, two = (
            "".join(chr(97 + k) for k in random.integers(0, letters, random.integers(1, 60)))
            for _ in range(3)
        )
        two += corpus[3:30] + two
        found = copied_lengths(ids(corpus), [ids(one), ids(two)])
        assert [each.tolist() for each in found] == [
            by_looking(corpus, one), by_looking(corpus, two),
        ]  # fmt: skip


def test_a_text_is_no_copy_of_another_text() -> None:
    found = copied_lengths(ids("abc"), [ids("xyzxyz"), ids("xyzxyz")])
    assert [each.max() for each in found] == [0, 0]


def test_a_whole_copy_ends_with_its_text() -> None:
    (found,) = copied_lengths(ids("once upon a time"), [ids("upon a")])
    assert found.tolist() == [6, 5, 4, 3, 2, 1]


def test_the_ends_of_the_corpus_are_ends() -> None:
    (found,) = copied_lengths(ids("ab"), [ids("abab")])
    assert found.tolist() == [2, 1, 2, 1]
