"""Scores by windows, against each window read again by single steps."""

import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from charlm.data.system import console
from charlm.data.system.errors import CorpusError, ModelFileError, SettingsError, VocabularyError
from charlm.data.text.corpus import SAMPLE
from charlm.export import contract
from charlm.infer import score_cli
from charlm.infer.generator import Generator
from charlm.infer.model import shipped
from charlm.infer.model.artifact import Model, open_model
from charlm.infer.scoring import score_window
from charlm.infer.scoring.score import Score, Scorer, WindowScore
from charlm.infer.scoring.score_window import WindowScorer

Run = Callable[..., tuple[int, str, list[str]]]


def letters(count: int, seed: int = 0) -> str:
    ids = np.random.RandomState(seed).randint(0, 28, count)
    return "".join(" abcdefghijklmnopqrstuvwxyzé"[place] for place in ids)


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
    assert found.score.characters == found.carried.characters == length - 1
    assert found.score.bits == pytest.approx(naive_bits(each_way.model, text, window), rel=1e-4)
    assert found.carried.bits == pytest.approx(Scorer(each_way.model).score([text]).bits, rel=1e-9)


@pytest.mark.parametrize("piece", [2, 10, 64, 1000])
@pytest.mark.parametrize("workers", [1, 3])
def test_pieces_chunks_and_workers_change_nothing(
    small: Generator, piece: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a piece that is shorter than the window."""
    text = letters(700)
    wanted = WindowScorer(small.model, 20).score([text])
    monkeypatch.setattr(score_window, "PIECE", piece)
    scorer = WindowScorer(small.model, 20, workers=workers)
    found = scorer.score([text[start : start + 33] for start in range(0, len(text), 33)])
    assert found.score.characters == wanted.score.characters == 699
    assert found.score.bits == pytest.approx(wanted.score.bits, rel=1e-5)
    assert found.carried.bits == pytest.approx(wanted.carried.bits, rel=1e-5)


def test_within_the_window_both_figures_are_the_same(each_way: Generator) -> None:
    found = WindowScorer(each_way.model, 40).score([letters(41)])
    assert found.score.bits == pytest.approx(found.carried.bits, rel=1e-6)


def test_a_window_in_several_runs(small: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    text = letters(120)
    wanted = WindowScorer(small.model, 30).score([text])
    monkeypatch.setattr(score_window, "run_length", lambda *_: 7)
    found = WindowScorer(small.model, 30).score([text])
    assert found.score.bits == pytest.approx(wanted.score.bits, rel=1e-4)


def test_a_trained_model_in_float32_and_int8() -> None:
    """Carrying the state is worth something to a model that was trained to carry it."""
    model = open_model(shipped.shipped_model(), "cpu", 1)
    text = SAMPLE.read_text(encoding="utf-8")[:1200].lower().replace("\n", " ")
    found = WindowScorer(model, 8).score([text])
    assert found.score.bits == pytest.approx(naive_bits(model, text, 8), rel=1e-5)
    assert found.score.bits > found.carried.bits
    int8 = WindowScorer(model, 8, precision="int8").score([text])
    assert int8.score.bits != found.score.bits
    assert int8.score.bits == pytest.approx(found.score.bits, rel=0.02)


def test_scores_add_up() -> None:
    one, two = (WindowScore(Score(n, 2.0 * n), 40, Score(n, 1.0 * n)) for n in (10, 30))
    assert one + two == WindowScore(Score(40, 80.0), 40, Score(40, 40.0))


def test_mistakes(small: Generator) -> None:
    for window in (0, -1, 1 << 40):
        with pytest.raises(SettingsError, match="--window is from 1 to 4096"):
            WindowScorer(small.model, window)
    with pytest.raises(VocabularyError, match="not one of the model's 28"):
        WindowScorer(small.model, 5, unknown="?")
    with pytest.raises(SettingsError, match="--precision fp16 runs with --provider cuda only"):
        WindowScorer(small.model, 5, precision="fp16")
    scorer = WindowScorer(small.model, 5)
    for text in ("", "a"):
        with pytest.raises(CorpusError, match="x: too short to score"):
            scorer.score([text], "x")
    with pytest.raises(VocabularyError, match=r"x: character '\?' .* at position 3"):
        scorer.score(["the?"], "x")


def test_damaged_weights_are_named(small: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = WindowScorer(small.model, 5)
    monkeypatch.setattr(scorer, "_last", lambda sequence, block: np.full(len(block), np.nan))
    with pytest.raises(ModelFileError, match="its weights are damaged"):
        scorer.score([letters(20)])


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


def test_the_command_gives_both_figures(run: Run, small: Generator) -> None:
    texts = {"a.txt": letters(100), "b.txt": letters(150, seed=1)}
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    scorer = WindowScorer(small.model, 7)
    scores = [scorer.score([text]) for text in texts.values()]
    scores.append(scores[0] + scores[1])
    code, out, _ = run("a.txt", "b.txt", "--window", 7)
    assert code == 0
    assert out.splitlines() == [
        f"{name}: {each.score.bits_per_character:.4f} bits/char, "
        f"perplexity {each.score.perplexity:.3f}, {each.score.characters} characters; "
        f"each after the last 7 alone; state carried: "
        f"{each.carried.bits_per_character:.4f} bits/char"
        for name, each in zip([*texts, "total"], scores, strict=True)
    ]
    found = json.loads(run("a.txt", "b.txt", "--window", 7, "--json")[1])
    assert found["total"]["window"] == 7
    assert found["total"]["bits"] == pytest.approx(scores[2].score.bits)
    assert found["total"]["carried"]["bits"] == pytest.approx(scores[2].carried.bits)


def test_the_command_reads_standard_input_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.txt").write_text(letters(300), encoding="utf-8")
    wanted = run("a.txt", "--window", 7)[1].partition(": ")[2]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(letters(300).encode())))
    code, out, _ = run("-", "--window", 7)
    assert (code, out.partition(": ")[2]) == (0, wanted)


@pytest.mark.parametrize(
    ("arguments", "saying"),
    [
        (["--window", "0"], "--window is from 1 to 4096 characters, not 0;"),
        (["--window", "4097"], "--window is from 1 to 4096 characters, not 4097;"),
        (["--window", "7", "--parallel"], "leave --parallel out"),
        (["--window", "7", "--warm-up", "3"], "--warm-up is for texts that are cut up"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: list[str], saying: str) -> None:
    Path("a.txt").write_text(letters(30), encoding="utf-8")
    code, out, err = run("a.txt", *arguments)
    assert (code, out, len(err)) == (2, "", 1)
    assert saying in err[0]
