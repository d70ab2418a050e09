"""Divergences of n-grams, with the values that they must have."""

import numpy as np
import pytest

from charlm.train.report.distance import characters, distances, divergence


def test_the_same_is_zero_and_nothing_in_common_is_one() -> None:
    assert divergence(np.array([1, 3]), np.array([10, 30])) == pytest.approx(0, abs=1e-12)
    assert divergence(np.array([1, 3, 0]), np.array([0, 0, 5])) == pytest.approx(1)


def test_a_value_worked_by_hand() -> None:
    # P = (1, 0), Q = (1/2, 1/2), M = (3/4, 1/4)
    expected = 0.5 * np.log2(4 / 3) + 0.5 * (0.5 * np.log2(2 / 3) + 0.5 * np.log2(2))
    assert divergence(np.array([4, 0]), np.array([7, 7])) == pytest.approx(expected)


def test_characters_count_ngrams_and_not_their_places() -> None:
    left, right = np.array([0, 1, 0, 1, 0]), np.array([1, 0, 1, 0, 1])
    assert characters(left, right, 3, 2) == pytest.approx(
        divergence(np.array([2, 1]), np.array([1, 2]))
    )
    assert characters(left, left, 4, 2) == 0


def test_words_are_compared_without_case() -> None:
    one, other = "The cat, the hat", "the HAT; the cat"
    ids = np.zeros(len(one), dtype=np.uint8)
    found = distances(ids, one, ids, other, 1)
    assert found["1 word"] == 0
    assert found["2 words"] > 0
    assert list(found)[:4] == ["1 character", "2 characters", "3 characters", "4 characters"]


def test_a_text_without_words_has_no_distance_of_words() -> None:
    ids = np.zeros(6, dtype=np.uint8)
    assert set(distances(ids, "......", ids, "one. .", 1)) == {
        "1 character", "2 characters", "3 characters", "4 characters",
    }  # fmt: skip
