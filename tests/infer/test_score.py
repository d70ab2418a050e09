"""Scores of single texts, exact."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.system.errors import CorpusError, ModelFileError, VocabularyError
from charlm.infer.engines import sequence
from charlm.infer.engines.sequence import LONGEST_RUN
from charlm.infer.generator import Generator
from charlm.infer.scoring import score
from charlm.infer.scoring.score import Score, Scorer
from charlm.train.evaluate import bits_per_character
from charlm.train.model import CharLSTM


def letters(count: int, seed: int = 0) -> str:
    ids = np.random.RandomState(seed).randint(0, 28, count)
    return "".join(" abcdefghijklmnopqrstuvwxyzé"[place] for place in ids)


@pytest.mark.parametrize("length", [2, 3, 500, LONGEST_RUN + 1, LONGEST_RUN + 2, 10_000])
def test_equals_the_score_of_training(
    each_way: Generator, small_torch: CharLSTM, length: int
) -> None:
    text = letters(length)
    found = Scorer(each_way.model).score([text])
    wanted = bits_per_character(small_torch, each_way.vocabulary.encode(text))
    assert found.characters == length - 1
    assert found.bits_per_character == pytest.approx(wanted, rel=1e-5)
    assert found.perplexity == pytest.approx(2**wanted, rel=1e-4)


@given(
    text=st.text(st.sampled_from(" abcABC\né"), min_size=10, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_chunking_changes_nothing(small: Generator, text: str, cuts: list[int]) -> None:
    text += "ab"
    places = [0, *sorted(cut for cut in cuts if cut <= len(text)), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(places)]
    scorer = Scorer(small.model)
    assert scorer.score(chunks) == scorer.score([text])


def test_chunks_change_nothing_in_a_text_of_several_runs(each_way: Generator) -> None:
    text, scorer = letters(3 * LONGEST_RUN), Scorer(each_way.model)
    chunks = [text[start : start + 777] for start in range(0, len(text), 777)]
    assert scorer.score(chunks) == scorer.score([text])


def test_short_runs_change_but_the_rounding(
    each_way: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = letters(300)
    whole = Scorer(each_way.model).score([text])
    monkeypatch.setattr(sequence, "LONGEST_RUN", 7)
    parts = Scorer(each_way.model).score([text])
    assert parts.characters == whole.characters
    assert parts.bits == pytest.approx(whole.bits, rel=1e-6)


def test_each_text_starts_from_a_zero_state(each_way: Generator) -> None:
    scorer = Scorer(each_way.model)
    first = scorer.score([letters(101)])
    scorer.score([letters(77, seed=1)])
    assert scorer.score([letters(101)]) == first


def test_a_text_that_failed_leaves_nothing_behind(each_way: Generator) -> None:
    scorer = Scorer(each_way.model)
    first = scorer.score([letters(100)])
    with pytest.raises(VocabularyError):
        scorer.score([letters(5000), "ab ?"])
    assert scorer.score([letters(100)]) == first


def test_scores_add_up() -> None:
    total = Score(3, 6.0) + Score(1, 4.0)
    assert total == Score(4, 10.0)
    assert total.bits_per_character == 2.5
    assert total.perplexity == pytest.approx(2**2.5)
    assert Score(1, 5000.0).perplexity == float("inf")


@pytest.mark.parametrize("text", ["", "a", "\n\n", "a\n"])
def test_a_text_of_fewer_than_two_characters_is_refused(small: Generator, text: str) -> None:
    with pytest.raises(CorpusError, match=r"book\.txt: too short to score"):
        Scorer(small.model).score([text], "book.txt")


def test_an_unknown_character_is_named_with_file_and_position(small: Generator) -> None:
    with pytest.raises(VocabularyError, match=r"^book\.txt: character '\?' .* at position 3 is"):
        Scorer(small.model).score(["abc?"], "book.txt")
    far = r"^book\.txt: character '\?' \(U\+003F\) at position 203 is"
    with pytest.raises(VocabularyError, match=far):
        Scorer(small.model).score(["ab " * 66 + "ab", " ab?", " "], "book.txt")


def test_unknown_characters_are_dropped_or_replaced(small: Generator) -> None:
    plain = Scorer(small.model)
    dropped = Scorer(small.model, "drop").score(["th?e", "?", " ?city"])
    assert dropped == replace(plain.score(["the city"]), dropped=3)
    replaced = Scorer(small.model, "é").score(["th?e", "?", " ?city"])
    assert replaced == replace(plain.score(["théeé écity"]), replaced=3)
    with pytest.raises(VocabularyError, match="'ab' is not one of the model's"):
        Scorer(small.model, "ab")


def test_weights_that_are_not_finite_are_a_clear_error(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "bits", lambda _: np.array([np.nan]))
    with pytest.raises(ModelFileError, match="not finite"):
        Scorer(small.model).score(["abc"])
