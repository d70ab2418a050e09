"""Scores: of single texts, exact; of many side by side; of one cut up; by windows."""

import itertools
import math
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.system.errors import (
    CharlmError,
    CorpusError,
    ModelFileError,
    SettingsError,
    VocabularyError,
)
from charlm.data.text.corpus import SAMPLE
from charlm.data.text.normalise import Normalisation
from charlm.data.text.vocabulary import Vocabulary
from charlm.export import contract
from charlm.export.contract import native as contract_native
from charlm.infer.engines import native
from charlm.infer.engines.base import LONGEST_RUN, Array, Read, Tokens
from charlm.infer.engines.native import NativeReader
from charlm.infer.engines.reader import GraphTextReader
from charlm.infer.generator import Generator
from charlm.infer.model import shipped
from charlm.infer.model.open import Model, open_model
from charlm.infer.scoring import many, score
from charlm.infer.scoring.many import Scored, Text, score_many
from charlm.infer.scoring.score import Score, Scorer, TokenText
from charlm.infer.scoring.segments import SegmentedScore, SegmentScorer
from charlm.infer.scoring.sharing import side_by_side
from charlm.infer.scoring.windows import WindowScore, WindowScorer
from charlm.train.loop.evaluate import bits_per_character
from charlm.train.model import CharLSTM

posix = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")


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


@given(
    chunks=st.lists(st.text(st.sampled_from(" aAbÉe\u0301\nжЖ~"), max_size=8), max_size=5),
    characters=st.sampled_from([" abeé", " abeéж"]),
    case=st.sampled_from(["keep", "lower"]),
    newlines=st.sampled_from(["drop", "space"]),
    unknown=st.sampled_from(["drop", "b"]),
)
def test_a_text_is_encoded_as_it_is_normalised(
    small_metadata: contract.Metadata,
    chunks: list[str],
    characters: str,
    case: Any,
    newlines: Any,
    unknown: str,
) -> None:
    vocabulary, normalisation = Vocabulary(characters), Normalisation(case, True, newlines)
    metadata = replace(
        small_metadata, vocabulary=vocabulary, normalisation=normalisation,
        initial=(1 / len(characters),) * len(characters),
    )  # fmt: skip
    whole = normalisation("".join(chunks))
    wanted = vocabulary.encode(whole, unknown).tolist()
    text = TokenText(chunks, "the text", metadata, unknown)
    assert text.have(100) == max(0, len(wanted) - 1)
    assert text.take(100).tolist() == wanted
    assert text.dropped + text.replaced == vocabulary.lacks(whole)


def test_a_text_that_failed_leaves_nothing_behind(each_way: Generator) -> None:
    scorer = Scorer(each_way.model)
    first = scorer.score([letters(100)])
    with pytest.raises(VocabularyError):
        scorer.score([letters(5000), "ab ?"])
    assert scorer.score([letters(100)]) == first


def segmented(borders: int, excess: tuple[float, ...]) -> SegmentedScore:
    return SegmentedScore(1000, 1.0, segments=borders + 1, borders=borders, excess=excess)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            Score(1, 1.0, dropped=3, read=5),
            " 1 character; the model lacks 3 of all 5 (60.00%): left",
        ),
        (Score(9, 1.0, 10, read=10), " 9 characters; the model lacks 10 of all 10 (100.00%): coun"),
        (Score(10**6, 1.0, 59, read=10**6 + 1), "lacks 59 of all 1,000,001 (<0.01%): counted"),
        (segmented(2, (0.004, 0.003)), ": less than 0.00001 bits/char"),
        (segmented(2, (2.0, 3.0)), ": +0.00500 bits/char"),
        (segmented(3, (2.0, 3.0)), ": +0.00750 ± 0.00150 bits/char"),
    ],
)
def test_a_score_is_put_in_words(found: Score, said: str) -> None:
    assert said in found.described()


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
    with pytest.raises(
        VocabularyError, match=r"^book\.txt: character '\?' .* at line 1, column 4,"
    ):
        Scorer(small.model).score(["abc?"], "book.txt")
    far = r"^book\.txt: character '\?' \(U\+003F\) at line 1, column 204, is"
    with pytest.raises(VocabularyError, match=far):
        Scorer(small.model).score(["ab " * 66 + "ab", " ab?", " "], "book.txt")


@pytest.mark.parametrize("newlines", ["drop", "keep"])
@given(
    start=st.text(st.sampled_from(" xbe\u0301\n"), max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_its_line_and_column_are_those_of_the_file(
    small_metadata: contract.Metadata, newlines: Any, start: str, cuts: list[int]
) -> None:
    vocabulary = Vocabulary(" xbeé\n\u0301")
    metadata = replace(
        small_metadata, vocabulary=vocabulary, normalisation=Normalisation("keep", True, newlines),
        initial=(1 / len(vocabulary),) * len(vocabulary),
    )  # fmt: skip
    text = f"{start}? b\n?"
    places = [0, *sorted(cut for cut in cuts if cut <= len(start)), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(places)]
    before = f"{start}?".split("\n")
    where = f"at line {len(before)}, column {len(before[-1])}, is"
    with pytest.raises(VocabularyError, match=where):
        TokenText(chunks, "the text", metadata).have(100)


def test_unknown_characters_are_dropped_or_replaced(small: Generator) -> None:
    plain = Scorer(small.model)
    dropped = Scorer(small.model, "drop").score(["th?e", "?", " ?city"])
    assert dropped == replace(plain.score(["the city"]), dropped=3, read=11)
    replaced = Scorer(small.model, "é").score(["th?e", "?", " ?city"])
    assert replaced == replace(plain.score(["théeé écity"]), replaced=3)
    with pytest.raises(VocabularyError, match="'ab' is not one of the model's"):
        Scorer(small.model, "ab")


LENGTHS = [2, 300, 5, 3000, 2, 700, 41, 40, 1, 0, 900, 17, 2500, 8, 3]


TEXTS = [letters(length, seed) for seed, length in enumerate(LENGTHS)]


def scored(generator: Generator, texts: list[str], **settings: Any) -> list[Score | CharlmError]:
    """The results in the order of the texts, each of which is there once."""
    given = [Text(f"{place}.txt", [text]) for place, text in enumerate(texts)]
    found = sorted(score_many(generator.model, given, **settings), key=lambda each: each.index)
    assert [each.index for each in found] == list(range(len(texts)))
    return [each.result for each in found]


@pytest.mark.parametrize(("workers", "width"), [(1, 3), (2, 1), (5, 64)])
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


def test_texts_leave_as_they_end_and_others_enter(
    small_whole: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long text holds nobody up, and no run has rows of texts that have ended."""
    rows = []
    run = GraphTextReader.run

    def counted(self: Any, ids: Any, *rest: Any) -> Read:
        rows.append(ids.shape)
        return run(self, ids, *rest)

    monkeypatch.setattr(GraphTextReader, "run", counted)
    monkeypatch.setattr(many, "run_length", lambda *_: 10)
    texts = [letters(101), *[letters(21)] * 5]
    given = [Text("", [text]) for text in texts]
    order = [each.index for each in score_many(small_whole.model, given, width=2)]
    assert sorted(order[4:]) == [0, 5]
    assert order[:4] == [1, 2, 3, 4]
    assert rows == [(2, 11)] * 10


@pytest.mark.parametrize(
    ("files", "count", "workers", "width", "room"),
    [
        (1 << 20, 100, 1, 4, 5),
        (1 << 20, 600, 32, 64, 512 + 32),
        pytest.param(256, 600, 1, 512, 128 + 1, marks=posix),
        pytest.param(8, 50, 32, 64, 4 + 4, marks=posix),
    ],
)
def test_a_text_is_asked_for_when_there_is_room(
    small: Generator,
    monkeypatch: pytest.MonkeyPatch,
    files: int,
    count: int,
    workers: int,
    width: int,
    room: int,
) -> None:
    """So thousands of files are not open at once, nor in memory, however many workers there are,
    and no more than the system allows.
    """
    if sys.platform != "win32":
        monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
    under_way: set[int] = set()
    most = 0

    def watched(number: int) -> Iterator[str]:
        nonlocal most
        under_way.add(number)
        most = max(most, len(under_way))
        for place in range(0, 200, 20):
            yield letters(20, place)
        under_way.discard(number)

    given = (Text("", watched(number)) for number in range(count))
    found = score_many(small.model, given, workers=workers, width=width)
    assert len([*found]) == count
    assert most <= room
    assert not under_way


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
    assert errors[1].startswith("b.txt: character '?' (U+003F) at line 1, column 704, is")
    assert errors[2] == "c.txt: not utf-8"
    assert errors[3].startswith("d.txt: character '?'")
    assert errors[4].startswith("e.txt: too short to score")
    for place, text in ((0, letters(900)), (5, letters(60, 1))):
        alone = Scorer(each_way.model).score([text]).bits
        result = found[place]
        assert isinstance(result, Score)
        assert result.bits == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_wrong_with_the_model_ends_it_all(damaged: Model, workers: int) -> None:
    before = threading.active_count()
    with pytest.raises(ModelFileError, match="not finite"):
        [*score_many(damaged, [Text("", [text]) for text in TEXTS], workers=workers)]
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


SHORT: dict[str, Any] = {"shortest": 50, "longest": 200}  # which texts of a test can fill


@pytest.mark.parametrize("length", [2, 3, 99, 150, 500, 2001, 4099])
@pytest.mark.parametrize(("workers", "segments"), [(1, 1), (1, 7), (2, 8), (3, 2)])
def test_every_character_counts_once_and_carries_what_was_before(
    small: Generator, length: int, workers: int, segments: int
) -> None:
    """With a warm-up as long as it takes, the figure is the exact one."""
    text = letters(length)
    wanted = Scorer(small.model).score([text])
    scorer = SegmentScorer(
        small.model, workers=workers, segments=segments, warm_up=min(length, 150), **SHORT
    )
    found = scorer.score([text])
    assert found.characters == wanted.characters
    assert found.bits == pytest.approx(wanted.bits, rel=1e-4)


def test_a_long_text_is_cut_into_many_segments_piece_after_piece(each_way: Generator) -> None:
    text = letters(10_001)
    scorer = SegmentScorer(each_way.model, segments=5, warm_up=10, **SHORT)
    found = scorer.score([text[start : start + 333] for start in range(0, len(text), 333)])
    assert found.segments == 10 * 5
    assert found.borders == 10 * 4
    assert found.characters == 10_000
    assert found.warm_up == 10


def test_what_the_cutting_leaves_over_is_not_read_by_every_segment(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 100 segments of 99 characters 99 are left over, which all would read beforehand."""
    read: list[int] = []

    class Counting(NativeReader):
        def run(self, ids: Tokens, h: Array, c: Array) -> Read:
            read.append(ids.size - len(ids))
            return super().run(ids, h, c)

    monkeypatch.setattr(native, "NativeReader", Counting)
    scorer = SegmentScorer(small.model, segments=100, warm_up=0, measured=1, **SHORT)
    assert scorer.score([letters(10_000)]).segments >= 94
    assert 9_999 <= sum(read) < 11_000


def test_chunks_change_nothing(small: Generator) -> None:
    text, scorer = letters(3000), SegmentScorer(small.model, segments=4, warm_up=20, **SHORT)
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
    real = found.bits_per_character - exact
    assert abs(real) > 1e-3
    assert found.difference == pytest.approx(real, rel=1e-2)


def test_some_borders_stand_for_all_where_there_are_many(small: Generator) -> None:
    text = letters(8001)
    exact = Scorer(small.model).score([text]).bits_per_character
    found = SegmentScorer(small.model, segments=40, warm_up=0, measured=6, **SHORT).score([text])
    assert (found.borders, len(found.excess)) == (39, 6)
    real = found.bits_per_character - exact
    assert found.difference_error > 0
    assert abs(found.difference - real) < 4 * found.difference_error


def test_the_difference_is_the_mean_at_the_borders_for_each() -> None:
    found = SegmentedScore(1000, 2000.0, 0, 0, 11, 5, 10, (1.0, 3.0))
    assert found.difference == pytest.approx(2.0 * 10 / 1000)
    assert found.difference_error == pytest.approx(2**0.5 / 2**0.5 * 10 / 1000)
    whole = SegmentedScore(1000, 2000.0, 0, 0, 1, 5, 0, ())
    assert (whole.difference, whole.difference_error) == (0, 0)
    both = found + whole
    assert both == SegmentedScore(2000, 4000.0, 0, 0, 12, 5, 10, (1.0, 3.0))
    assert both.difference == pytest.approx(2.0 * 10 / 2000)


@pytest.mark.parametrize("length", [2, 500, 2000])
def test_a_short_text_is_not_cut(each_way: Generator, length: int) -> None:
    found = SegmentScorer(each_way.model).score([letters(length)])
    assert (found.segments, found.borders, found.difference) == (1, 0, 0)
    exact = Scorer(each_way.model).score([letters(length)])
    assert (found.characters, found.bits) == (exact.characters, exact.bits)


def test_segments_are_longer_than_their_warm_up(small: Generator) -> None:
    found = SegmentScorer(small.model, warm_up=500).score([letters(9000)])
    assert found.segments == (9000 - 1 - 500) // 2000
    found = SegmentScorer(small.model, warm_up=0).score([letters(9000)])
    assert found.segments == 8999 // 1024


def test_each_worker_adds_segments(
    small: Generator, as_if_on_cuda: Callable[[Model], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a GPU far more, as many as its kernel has at once, up to the most."""
    monkeypatch.setattr(score, "open_text_reader", lambda *_: None)
    monkeypatch.setattr(contract_native, "gpu", lambda: (132, "a GPU"))
    for model, precision, wanted in (
        (small.model, "int8", (64, 128, 192)),
        (as_if_on_cuda(small.model), "float32", (8448, 16896, 25344)),
        (as_if_on_cuda(small.model), "fp16", (16896, 33792, 50688)),
    ):
        made = partial(SegmentScorer, model, None, precision)
        assert tuple(made(workers=workers).segments for workers in (1, 2, 3)) == wanted
        assert made(workers=2, segments=5).segments == 5
    assert made(workers=4).segments == 65536


@pytest.mark.parametrize(
    ("settings", "saying"),
    [
        ({"segments": 0}, "`segments` is from 1 to 65536, not 0"),
        ({"segments": 70000}, "`segments` is from 1 to 65536, not 70000"),
        ({"warm_up": -1}, "`warm_up` is from 0 to 65536, not -1"),
        ({"warm_up": 10**6}, "`warm_up` is from 0 to 65536, not 1000000"),
        ({"precision": "fp16"}, "`precision` fp16 runs with `provider` cuda only"),
    ],
)
def test_settings_out_of_range(small: Generator, settings: dict[str, Any], saying: str) -> None:
    with pytest.raises(SettingsError, match=saying):
        SegmentScorer(small.model, **settings)


def test_mistakes_are_those_of_a_text_alone(small: Generator, damaged: Model) -> None:
    scorer = SegmentScorer(small.model, segments=4, **SHORT)
    with pytest.raises(CorpusError, match=r"^a\.txt: too short to score"):
        scorer.score(["a"], "a.txt")
    with pytest.raises(
        VocabularyError, match=r"^a\.txt: character '\?' .* at line 1, column 1501, is"
    ):
        scorer.score([letters(1500), "?"], "a.txt")
    with pytest.raises(VocabularyError, match="'ab' is not one of the model's"):
        SegmentScorer(small.model, "ab")
    with pytest.raises(ModelFileError, match="not finite"):
        SegmentScorer(damaged).score([letters(100)])


def test_a_process_ends_though_a_text_is_still_read_ahead() -> None:
    code = (
        "import threading\n"
        "from charlm.data.system.errors import ModelFileError\n"
        "from charlm.infer import Generator\n"
        "from charlm.infer.scoring import segments\n"
        "def chunks():\n"
        "    yield 'the ' * 100\n"
        "    threading.Event().wait()\n"  # as a pipe that nobody writes to
        "def broken(*_):\n"
        "    raise ModelFileError('damaged')\n"
        "model = Generator.open('lovecraft').model\n"
        "scorer = segments.SegmentScorer(model, segments=1, longest=200)\n"
        "scorer._read = broken\n"
        "scorer.score(chunks())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("ModelFileError: damaged")


def naive_bits(model: Model, text: str, window: int) -> float:
    """The cost of a text, each character after its window from a zero state, by single steps."""
    metadata, total = model.metadata, 0.0
    ids = metadata.vocabulary.encode(text).astype(np.int64)
    for place in range(1, len(ids)):
        h = c = np.zeros((1, metadata.layers, metadata.hidden), dtype=np.float32)
        for token in ids[max(0, place - window) : place]:
            given = {contract.TOKEN: token[None], contract.H: h, contract.C: c}
            outputs = [contract.LOGITS, contract.H_NEXT, contract.C_NEXT]
            logits, h, c = model.session.run(outputs, given)
        wide = logits[0].astype(np.float64)
        wide -= wide.max()
        total += (math.log(np.exp(wide).sum()) - wide[ids[place]]) / math.log(2)
    return total


@pytest.mark.parametrize("window", [1, 3, 40])
@pytest.mark.parametrize("length", [2, 3, 41, 42, 150])
def test_each_character_is_judged_by_its_window(
    each_way: Generator, window: int, length: int
) -> None:
    text = letters(length)
    found = WindowScorer(each_way.model, window).score([text])
    assert found.window == window
    assert found.characters == found.carried.characters == length - 1
    assert found.bits == pytest.approx(naive_bits(each_way.model, text, window), rel=1e-4)
    assert found.carried.bits == pytest.approx(Scorer(each_way.model).score([text]).bits, rel=1e-9)


@pytest.mark.parametrize("piece", [2, 10, 64, 1000])
@pytest.mark.parametrize("workers", [1, 3])
def test_pieces_chunks_and_workers_change_nothing(
    small: Generator, piece: int, workers: int
) -> None:
    """Also a piece that is shorter than the window."""
    text = letters(700)
    wanted = WindowScorer(small.model, 20).score([text])
    scorer = WindowScorer(small.model, 20, workers=workers, piece=piece)
    found = scorer.score([text[start : start + 33] for start in range(0, len(text), 33)])
    assert found.characters == wanted.characters == 699
    assert found.bits == pytest.approx(wanted.bits, rel=1e-5)
    assert found.carried.bits == pytest.approx(wanted.carried.bits, rel=1e-5)


def test_a_trained_model_in_float32_and_int8() -> None:
    """Carrying the state is worth something to a model that was trained to carry it."""
    model = open_model(shipped.shipped_model(), "cpu", 1)
    text = SAMPLE.read_text(encoding="utf-8")[:1200].lower().replace("\n", " ")
    found = WindowScorer(model, 8).score([text])
    assert found.bits == pytest.approx(naive_bits(model, text, 8), rel=1e-5)
    assert found.bits > found.carried.bits
    int8 = WindowScorer(model, 8, precision="int8").score([text])
    assert int8.bits != found.bits
    assert int8.bits == pytest.approx(found.bits, rel=0.02)


def test_scores_by_windows_add_up() -> None:
    one, two = (WindowScore(n, 2.0 * n, window=40, carried=Score(n, 1.0 * n)) for n in (10, 30))
    assert one + two == WindowScore(40, 80.0, window=40, carried=Score(40, 40.0))


def test_mistakes(small: Generator) -> None:
    for window in (0, -1, 1 << 40):
        with pytest.raises(SettingsError, match="`window` is from 1 to 4096"):
            WindowScorer(small.model, window)
    with pytest.raises(VocabularyError, match="not one of the model's 28"):
        WindowScorer(small.model, 5, unknown="?")
    with pytest.raises(SettingsError, match="`precision` fp16 runs with `provider` cuda only"):
        WindowScorer(small.model, 5, precision="fp16")
    scorer = WindowScorer(small.model, 5)
    for text in ("", "a"):
        with pytest.raises(CorpusError, match="x: too short to score"):
            scorer.score([text], "x")
    with pytest.raises(VocabularyError, match=r"x: character '\?' .* at line 1, column 4,"):
        scorer.score(["the?"], "x")


def test_threads_that_share_a_text_stop_where_it_is_given_up() -> None:
    runs: list[int] = []

    class Slow:
        def run(self, *_: Any) -> Any:
            runs.append(1)
            threading.Event().wait(0.001)

    def read(reader: Any) -> None:
        while len(runs) < 5000:
            reader.run(None, None, None)

    def interrupted() -> None:
        with side_by_side([Slow(), Slow()]) as share:
            share(read)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(runs) < 5000


@pytest.mark.parametrize("scorer", [Scorer, lambda model: WindowScorer(model, 5)])
def test_damaged_weights_are_named(damaged: Model, scorer: Callable[[Model], Scorer]) -> None:
    with pytest.raises(ModelFileError, match="its weights are damaged"):
        scorer(damaged).score([letters(20)])
