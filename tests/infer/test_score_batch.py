"""Many texts side by side, against each alone."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from charlm.data.system.errors import CharlmError, CorpusError, ModelFileError, VocabularyError
from charlm.infer.engines import sequence
from charlm.infer.generator import Generator
from charlm.infer.scoring import score, score_batch
from charlm.infer.scoring.score import Score, Scorer
from charlm.infer.scoring.score_batch import Scored, Text, score_many

LENGTHS = [2, 300, 5, 3000, 2, 700, 41, 40, 1, 0, 900, 17, 2500, 8, 3]


def letters(count: int, seed: int = 0) -> str:
    ids = np.random.RandomState(seed).randint(0, 28, count)
    return "".join(" abcdefghijklmnopqrstuvwxyzé"[place] for place in ids)


TEXTS = [letters(length, seed) for seed, length in enumerate(LENGTHS)]


def scored(generator: Generator, texts: list[str], **settings: Any) -> list[Score | CharlmError]:
    """The results in the order of the texts, each of which is there once."""
    given = [Text(f"{place}.txt", [text]) for place, text in enumerate(texts)]
    found = sorted(score_many(generator.model, given, **settings), key=lambda each: each.index)
    assert [each.index for each in found] == list(range(len(texts)))
    return [each.result for each in found]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("width", [1, 3, 64])
def test_texts_of_any_length_cost_what_each_costs_alone(
    each_way: Generator, workers: int, width: int
) -> None:
    alone = Scorer(each_way.model)
    for text, found in zip(
        TEXTS, scored(each_way, TEXTS, workers=workers, width=width), strict=True
    ):
        if len(text) < 2:
            assert isinstance(found, CorpusError)
            continue
        wanted = alone.score([text])
        assert isinstance(found, Score)
        assert found.characters == wanted.characters
        assert found.bits == pytest.approx(wanted.bits, rel=1e-5)


def test_a_text_s_neighbours_change_but_the_rounding(small: Generator) -> None:
    one, other = (
        scored(small, [TEXTS[3], *others], width=len(others) + 1)[0]
        for others in ([letters(3000, 50)], TEXTS[10:] * 4)
    )
    assert isinstance(one, Score)
    assert isinstance(other, Score)
    assert one.bits == pytest.approx(other.bits, rel=1e-5)


def test_texts_leave_as_they_end_and_others_enter(
    small_whole: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long text holds nobody up, and no run has rows of texts that have ended."""
    rows = []
    run = sequence.GraphSequence.run

    def counted(self: Any, ids: Any, *rest: Any) -> sequence.Read:
        rows.append(ids.shape)
        return run(self, ids, *rest)

    monkeypatch.setattr(sequence.GraphSequence, "run", counted)
    monkeypatch.setattr(score_batch, "run_length", lambda *_: 10)
    texts = [letters(101), *[letters(21)] * 5]
    given = [Text("", [text]) for text in texts]
    order = [each.index for each in score_many(small_whole.model, given, width=2)]
    assert sorted(order[4:]) == [0, 5]
    assert order[:4] == [1, 2, 3, 4]
    assert rows == [(2, 11)] * 10


def test_a_text_is_asked_for_when_there_is_room(small: Generator) -> None:
    """So thousands of files are not open at once, nor in memory."""
    under_way: set[int] = set()
    most = 0

    def watched(number: int) -> Iterator[str]:
        nonlocal most
        under_way.add(number)
        most = max(most, len(under_way))
        for place in range(0, 200, 20):
            yield letters(20, place)
        under_way.discard(number)

    given = (Text("", watched(number)) for number in range(100))
    assert len([*score_many(small.model, given, width=4)]) == 100
    assert most <= 5
    assert not under_way


def test_workers_share_the_rows_that_may_be_open(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []
    make = score_batch._Batch.__init__

    def spied(self: Any, model: Any, sequence: Any, unknown: Any, width: int, *rest: Any) -> None:
        widths.append(width)
        make(self, model, sequence, unknown, width, *rest)

    monkeypatch.setattr(score_batch._Batch, "__init__", spied)
    scored(small, TEXTS, workers=32)
    scored(small, TEXTS, workers=2)
    assert widths == [16] * 32 + [64] * 2


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_wrong_with_one_text_is_its_own_result(each_way: Generator, workers: int) -> None:
    def unreadable() -> Iterator[str]:
        yield letters(500)
        raise CorpusError("c.txt: not utf-8")

    texts = [
        Text("a.txt", [letters(900)]),
        Text("b.txt", [letters(700), " ab?", letters(50)]),
        Text("c.txt", unreadable()),
        Text("d.txt", ["?"]),
        Text("e.txt", ["a"]),
        Text("f.txt", [letters(60, 1)]),
    ]
    found = {each.index: each.result for each in score_many(each_way.model, texts, workers=workers)}
    errors = {place: str(each) for place, each in found.items() if isinstance(each, CharlmError)}
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert sorted(errors) == [1, 2, 3, 4]
    assert errors[1].startswith("b.txt: character '?' (U+003F) at position 703 is")
    assert errors[2] == "c.txt: not utf-8"
    assert errors[3].startswith("d.txt: character '?'")
    assert errors[4].startswith("e.txt: too short to score")
    for place, text in ((0, letters(900)), (5, letters(60, 1))):
        alone = Scorer(each_way.model).score([text]).bits
        result = found[place]
        assert isinstance(result, Score)
        assert result.bits == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_wrong_with_the_model_ends_it_all(
    small: Generator, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(score_batch, "bits", lambda given: score.bits(given) * np.nan)
    before = threading.active_count()
    with pytest.raises(ModelFileError, match="not finite"):
        scored(small, TEXTS, workers=workers)
    assert threading.active_count() == before


def test_whoever_stops_listening_stops_the_workers(small: Generator) -> None:
    before = threading.active_count()

    def endless() -> Iterator[Text]:
        while True:
            yield Text("", [letters(30)])

    found = score_many(small.model, endless(), workers=2, width=4)
    assert isinstance(next(found), Scored)
    found.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_no_texts_are_no_scores(small: Generator) -> None:
    for workers in (1, 2):
        assert not [*score_many(small.model, [], workers=workers)]


def test_unknown_characters_are_dropped_or_refused(small: Generator) -> None:
    found = scored(small, ["the? city", "?"], unknown="drop")
    assert isinstance(found[0], Score)
    assert found[0].characters == 7
    assert isinstance(found[1], CorpusError)
    with pytest.raises(VocabularyError, match="'ab' is not one of the model's"):
        score_many(small.model, [], unknown="ab")
