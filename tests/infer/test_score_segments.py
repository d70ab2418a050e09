"""A text in segments, against the text as a whole."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from charlm.data.system.errors import CorpusError, ModelFileError, SettingsError, VocabularyError
from charlm.infer.generator import Generator
from charlm.infer.model.artifact import Model
from charlm.infer.scoring import score, score_segments
from charlm.infer.scoring.score import Score, Scorer
from charlm.infer.scoring.score_segments import SegmentedScore, SegmentScorer


def letters(count: int, seed: int = 0) -> str:
    ids = np.random.RandomState(seed).randint(0, 28, count)
    return "".join(" abcdefghijklmnopqrstuvwxyzé"[place] for place in ids)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that texts of a test can fill."""
    monkeypatch.setattr(score_segments, "SHORTEST_SEGMENT", 50)
    monkeypatch.setattr(score_segments, "LONGEST_SEGMENT", 200)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("length", [2, 3, 99, 150, 500, 2001, 4099])
@pytest.mark.parametrize(("workers", "segments"), [(1, 1), (1, 7), (2, 8), (3, 2)])
def test_every_character_counts_once_and_carries_what_was_before(
    small: Generator, length: int, workers: int, segments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a warm-up as long as it takes, the figure is the exact one."""
    text = letters(length)
    wanted = Scorer(small.model).score([text])
    scorer = SegmentScorer(
        small.model, workers=workers, segments=segments, warm_up=min(length, 150)
    )
    found = scorer.score([text])
    assert found.score.characters == wanted.characters
    assert found.score.bits == pytest.approx(wanted.bits, rel=1e-4)


@pytest.mark.usefixtures("short")
def test_a_long_text_is_cut_into_many_segments_piece_after_piece(each_way: Generator) -> None:
    text = letters(10_001)
    scorer = SegmentScorer(each_way.model, segments=5, warm_up=10)
    found = scorer.score([text[start : start + 333] for start in range(0, len(text), 333)])
    assert found.segments == 10 * 5
    assert found.borders == 10 * 4
    assert found.score.characters == 10_000
    assert found.warm_up == 10


@pytest.mark.usefixtures("short")
def test_chunks_change_nothing(small: Generator) -> None:
    text, scorer = letters(3000), SegmentScorer(small.model, segments=4, warm_up=20)
    places = [0, 1, 5, 999, 1000, 1001, 2500, 3000]
    chunks = [text[a:b] for a, b in itertools.pairwise(places)]
    assert scorer.score(chunks) == scorer.score([text])


def test_the_stated_difference_is_the_real_one(each_way: Generator) -> None:
    """Where every border is measured, over all characters that still differ after it."""
    text = letters(9000)
    exact = Scorer(each_way.model).score([text]).bits_per_character
    found = SegmentScorer(each_way.model, warm_up=0).score([text])
    assert found.segments == 8
    assert len(found.excess) == found.borders == 7
    assert found.difference_error == 0
    real = found.score.bits_per_character - exact
    assert abs(real) > 1e-3
    assert found.difference == pytest.approx(real, rel=1e-2)


@pytest.mark.usefixtures("short")
def test_some_borders_stand_for_all_where_there_are_many(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_segments, "MEASURED", 6)
    text = letters(8000)
    exact = Scorer(small.model).score([text]).bits_per_character
    found = SegmentScorer(small.model, segments=40, warm_up=0).score([text])
    assert (found.borders, len(found.excess)) == (39, 6)
    real = found.score.bits_per_character - exact
    assert found.difference_error > 0
    assert abs(found.difference - real) < 4 * found.difference_error


def test_the_difference_is_the_mean_at_the_borders_for_each() -> None:
    found = SegmentedScore(Score(1000, 2000.0), 11, 5, 10, (1.0, 3.0))
    assert found.difference == pytest.approx(2.0 * 10 / 1000)
    assert found.difference_error == pytest.approx(2**0.5 / 2**0.5 * 10 / 1000)
    whole = SegmentedScore(Score(1000, 2000.0), 1, 5, 0, ())
    assert (whole.difference, whole.difference_error) == (0, 0)
    both = found + whole
    assert both == SegmentedScore(Score(2000, 4000.0), 12, 5, 10, (1.0, 3.0))
    assert both.difference == pytest.approx(2.0 * 10 / 2000)


@pytest.mark.parametrize("length", [2, 500, 2000])
def test_a_short_text_is_not_cut(each_way: Generator, length: int) -> None:
    found = SegmentScorer(each_way.model).score([letters(length)])
    assert (found.segments, found.borders, found.difference) == (1, 0, 0)
    assert found.score == Scorer(each_way.model).score([letters(length)])


def test_segments_are_longer_than_their_warm_up(small: Generator) -> None:
    found = SegmentScorer(small.model, warm_up=500).score([letters(9000)])
    assert found.segments == (9000 - 1 - 500) // 2000
    found = SegmentScorer(small.model, warm_up=0).score([letters(9000)])
    assert found.segments == 8999 // 1024


def test_each_worker_adds_segments(
    small: Generator, as_if_on_cuda: Callable[[Model], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a GPU far more, up to the most."""
    monkeypatch.setattr(score_segments, "open_sequence", lambda *_: None)
    for model, wanted in (
        (small.model, (64, 128, 192)),
        (as_if_on_cuda(small.model), (8192, 16384, 16384)),
    ):
        found = [SegmentScorer(model, workers=workers).segments for workers in (1, 2, 3)]
        assert found == [*wanted]
        assert SegmentScorer(model, workers=2, segments=5).segments == 5


@pytest.mark.parametrize(
    ("settings", "saying"),
    [
        ({"segments": 0}, "--segments is from 1 to 16384, not 0"),
        ({"segments": 20000}, "--segments is from 1 to 16384, not 20000"),
        ({"warm_up": -1}, "--warm-up is from 0 to 65536, not -1"),
        ({"warm_up": 10**6}, "--warm-up is from 0 to 65536, not 1000000"),
        ({"precision": "fp16"}, "--precision fp16 runs with --provider cuda only"),
    ],
)
def test_settings_out_of_range(small: Generator, settings: dict[str, Any], saying: str) -> None:
    with pytest.raises(SettingsError, match=saying):
        SegmentScorer(small.model, **settings)


@pytest.mark.usefixtures("short")
def test_mistakes_are_those_of_a_text_alone(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = SegmentScorer(small.model, segments=4)
    with pytest.raises(CorpusError, match=r"^a\.txt: too short to score"):
        scorer.score(["a"], "a.txt")
    with pytest.raises(VocabularyError, match=r"^a\.txt: character '\?' .* at position 1500 is"):
        scorer.score([letters(1500), "?"], "a.txt")
    with pytest.raises(VocabularyError, match="'ab' is not one of the model's"):
        SegmentScorer(small.model, "ab")
    monkeypatch.setattr(score_segments, "bits", lambda given: score.bits(given) * np.nan)
    with pytest.raises(ModelFileError, match="not finite"):
        scorer.score([letters(100)])


def test_an_error_does_not_wait_for_the_rest_of_the_text(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is read ahead, and may come from a pipe that nobody writes to."""
    written, waited = threading.Event(), []

    def chunks() -> Iterator[str]:
        yield letters(2 * score_segments.LONGEST_SEGMENT - 1)
        waited.append(written.wait(30))

    def broken(*_: Any) -> None:
        raise ModelFileError("damaged")

    scorer = SegmentScorer(small.model, segments=1)
    monkeypatch.setattr(scorer, "_read", broken)
    with pytest.raises(ModelFileError, match="damaged"):
        scorer.score(chunks())
    assert not waited
    written.set()


def test_a_process_ends_though_a_text_is_still_read_ahead() -> None:
    code = (
        "import threading\n"
        "from charlm.data.system.errors import ModelFileError\n"
        "from charlm.infer import Generator\n"
        "from charlm.infer.scoring import score_segments as segments\n"
        "segments.LONGEST_SEGMENT = 200\n"
        "def chunks():\n"
        "    yield 'the ' * 100\n"
        "    threading.Event().wait()\n"  # as a pipe that nobody writes to
        "def broken(*_):\n"
        "    raise ModelFileError('damaged')\n"
        "scorer = segments.SegmentScorer(Generator.open('lovecraft').model, segments=1)\n"
        "scorer._read = broken\n"
        "scorer.score(chunks())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("ModelFileError: damaged")
