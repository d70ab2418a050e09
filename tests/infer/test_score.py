import io
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data import console
from charlm.data.errors import CorpusError, ModelFileError, VocabularyError
from charlm.infer import score, score_cli
from charlm.infer.generator import Generator
from charlm.infer.score import Score, Scorer
from charlm.train.evaluate import bits_per_character
from charlm.train.model import CharLSTM

Run = Callable[..., tuple[int, str, list[str]]]


def letters(count: int, seed: int = 0) -> str:
    ids = np.random.RandomState(seed).randint(0, 28, count)
    return "".join(" abcdefghijklmnopqrstuvwxyzé"[place] for place in ids)


def assert_equal(found: Score, wanted: Score) -> None:
    """But for the order in which the bits are summed."""
    assert found.characters == wanted.characters
    assert found.bits == pytest.approx(wanted.bits, rel=1e-12)


@pytest.fixture
def run(
    small_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs `charlm-score` with the small model: its exit code, stdout, and lines on stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, list[str]]:
        capsys.readouterr()
        given = [*map(str, arguments), "--model", str(small_path)]
        code = console.exit_code(score_cli.app, "charlm-score", given)
        shown = capsys.readouterr()
        return code, shown.out, shown.err.splitlines()

    return call


@pytest.mark.parametrize("length", [2, 3, 500, score.CHUNK + 1, score.CHUNK + 2, 10_000])
def test_equals_the_score_of_training(small: Generator, small_torch: CharLSTM, length: int) -> None:
    text = letters(length)
    found = Scorer(small.model).score([text])
    wanted = bits_per_character(small_torch, small.vocabulary.encode(text))
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
    assert_equal(scorer.score(chunks), scorer.score([text]))


def test_chunks_of_the_logits_change_nothing(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = letters(300)
    whole = Scorer(small.model).score([text])
    monkeypatch.setattr(score, "CHUNK", 7)
    parts = Scorer(small.model).score([text])
    assert_equal(parts, whole)


def test_each_text_starts_from_a_zero_state(small: Generator) -> None:
    scorer = Scorer(small.model)
    first = scorer.score([letters(101)])
    scorer.score([letters(77, seed=1)])
    assert scorer.score([letters(101)]) == first


def test_a_text_that_failed_leaves_nothing_behind(small: Generator) -> None:
    scorer = Scorer(small.model)
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
    assert_equal(dropped, plain.score(["the city"]))
    replaced = Scorer(small.model, "é").score(["th?e", "?", " ?city"])
    assert_equal(replaced, plain.score(["théeé écity"]))
    with pytest.raises(VocabularyError, match="'ab' is not one of the model's"):
        Scorer(small.model, "ab")


def test_weights_that_are_not_finite_are_a_clear_error(
    small: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scorer, "_bits", lambda *_: float("nan"))
    with pytest.raises(ModelFileError, match="not finite"):
        Scorer(small.model).score(["abc"])


def test_the_command_scores_files_and_their_total(run: Run, small: Generator) -> None:
    texts = {"a.txt": letters(300), "b.txt": letters(500, seed=1)}
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    scores = [Scorer(small.model).score([text]) for text in texts.values()]
    total = scores[0] + scores[1]
    code, out, err = run("a.txt", "b.txt")
    assert code == 0
    assert out.splitlines() == [
        f"{name}: {each.bits_per_character:.4f} bits/char, perplexity {each.perplexity:.3f}, "
        f"{each.characters} characters"
        for name, each in zip([*texts, "total"], [*scores, total], strict=True)
    ]
    assert len(err) == 1
    assert "small.onnx, cpu" in err[0]
    code, out, _ = run("a.txt")
    assert (code, len(out.splitlines())) == (0, 1)


def test_a_file_named_twice_counts_twice(run: Run) -> None:
    Path("a.txt").write_text(letters(300), encoding="utf-8")
    found = json.loads(run("a.txt", "a.txt", "--json")[1])
    assert [each["file"] for each in found["files"]] == ["a.txt", "a.txt"]
    assert found["total"]["characters"] == 2 * 299


def test_json(run: Run, small: Generator) -> None:
    Path("a.txt").write_text(letters(300), encoding="utf-8")
    wanted = Scorer(small.model).score([letters(300)])
    code, out, _ = run("a.txt", "--json")
    fields = {
        "bits_per_character": wanted.bits_per_character,
        "perplexity": wanted.perplexity,
        "characters": 299,
        "bits": wanted.bits,
    }
    assert code == 0
    assert json.loads(out) == {"files": [{"file": "a.txt", **fields}], "total": fields}


def test_text_is_read_and_normalised_as_a_corpus_is(run: Run) -> None:
    Path("plain.txt").write_bytes(b"thecity")
    Path("other.txt").write_bytes(b"\xef\xbb\xbfThe\r\nCiTy\r\n")
    Path("latin.txt").write_bytes("thé".encode("latin-1"))
    wanted = run("plain.txt")[1].partition(": ")[2]
    assert run("other.txt")[1].partition(": ")[2] == wanted
    code, out, _ = run("latin.txt", "--encoding", "latin-1")
    assert (code, out.endswith("2 characters\n")) == (0, True)


def test_a_dash_reads_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.txt").write_text(letters(300), encoding="utf-8")
    wanted = run("a.txt")[1].partition(": ")[2]
    given = io.TextIOWrapper(io.BytesIO(letters(300).encode()))
    monkeypatch.setattr(sys, "stdin", given)
    code, out, _ = run("-")
    assert (code, out.partition(": ")[2]) == (0, wanted)


@pytest.mark.parametrize(
    ("content", "arguments", "saying"),
    [
        (b"", [], "a.txt: too short to score"),
        (b"a", [], "a.txt: too short to score"),
        (b"ab\xff", [], "a.txt: not utf-8: byte 0xff at position 2"),
        (b"ab\x00", [], "a.txt: binary data, not text"),
        (b"the?city", [], "a.txt: character '?' (U+003F) at position 3"),
        (b"abc", ["--encoding", "nonsense"], "unknown encoding 'nonsense'"),
        (b"abc", ["--unknown", "??"], "'??' is not one of the model's 28 characters"),
        (b"abc", ["--threads", "0"], "--threads is from 1 to 256"),
        (b"abc", ["--provider", "gpu"], "--provider is one of"),
        (None, [], "can't read a.txt: no such file or directory"),
    ],
)
def test_a_mistake_is_one_line(
    run: Run, content: bytes | None, arguments: list[str], saying: str
) -> None:
    if content is not None:
        Path("a.txt").write_bytes(content)
    code, out, err = run("a.txt", *arguments)
    assert (code, out) == (2, "")
    assert saying in err[-1]
    assert err[-1].startswith("charlm-score: ")
    assert len(err) <= 2


def test_no_file_is_one_line(run: Run) -> None:
    code, out, err = run()
    assert (code, out, len(err)) == (2, "", 1)
    assert "charlm-score --help" in err[0]


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.exit_code(score_cli.app, "charlm-score", ["--help"]) == 0
    assert "Example: charlm-score book.txt --model model.onnx" in capsys.readouterr().out
    assert console.exit_code(score_cli.app, "charlm-score", ["--version"]) == 0
    assert capsys.readouterr().out.startswith("charlm ")
