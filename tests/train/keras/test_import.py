"""Keras models brought in: equal to what Keras itself predicted, and what is refused.

The files under `keras/` were made by Keras 2 and 3 (see `keras/make_fixtures.py`).
"""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

pytest.importorskip("h5py")  # of the extra keras

from charlm.data.system import console
from charlm.data.system.errors import ModelFileError, VocabularyError
from charlm.data.text.corpus import read_corpus
from charlm.data.text.normalise import NOTEBOOK
from charlm.data.text.vocabulary import Vocabulary
from charlm.train import report as files
from charlm.train.keras import import_cli
from charlm.train.keras.import_keras import (
    ImportRequest,
    _characters,
    _windows,
    prove_equal,
    to_torch,
)
from charlm.train.keras.import_vocabulary import EVERY, of_corpus
from charlm.train.keras.keras_file import read_keras
from charlm.train.loop import evaluate
from charlm.train.loop.evaluate import bits_per_character, windowed_bits
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE

HERE = Path(__file__).parent
CORPUS = HERE / "corpus.txt"
GOLDEN: dict[str, Any] = json.loads((HERE / "golden.json").read_text(encoding="utf-8"))
VOCABULARY = Vocabulary(GOLDEN["characters"])
WINDOWS = np.stack([VOCABULARY.encode(window) for window in GOLDEN["windows"]]).astype(np.int64)
FILES = sorted(name for name in GOLDEN if name.endswith((".h5", ".keras")))

Import = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def bring(capsys: pytest.CaptureFixture[str]) -> Import:
    """Runs `charlm-import` in this process: its exit code, and its lines on stderr."""

    def run(*arguments: object) -> tuple[int, list[str]]:
        capsys.readouterr()
        given = [str(argument) for argument in arguments]
        code = console.exit_code(import_cli.app, "charlm-import", given)
        shown = capsys.readouterr()
        assert shown.out == "", "stdout is for text"
        return code, shown.err.splitlines()

    return run


def refused(bring: Import, *arguments: object) -> str:
    code, lines = bring(*arguments)
    assert (code, len(lines)) == (2, 1), lines
    return lines[0]


def probabilities(run: run_folder.Run) -> np.ndarray:
    """After each golden window, in the order of `run`'s vocabulary."""
    tokens = torch.from_numpy(WINDOWS.T.copy())
    with torch.no_grad():
        hidden, _ = run.model(tokens, run.model.zero_state(len(WINDOWS)))
        return run.model.head(hidden[-1]).softmax(dim=1).numpy()


def test_there_are_files_of_both_versions_in_both_formats() -> None:
    assert len(FILES) == 8
    versions = {read_keras(HERE / name).version[0] for name in FILES}
    assert versions == {"2", "3"}


@pytest.mark.parametrize("name", FILES)
def test_the_run_predicts_what_keras_predicted(name: str, bring: Import, tmp_path: Path) -> None:
    code, lines = bring(HERE / name, "--corpus", CORPUS, "--out", tmp_path / "run")
    assert (code, len(lines)) == (0, 3)
    run = run_folder.load_run(tmp_path / "run")
    assert run.vocabulary == VOCABULARY
    assert run.normalisation == NOTEBOOK
    assert run.model.config.layers == (2 if name.startswith("stacked") else 1)
    assert probabilities(run) == pytest.approx(np.array(GOLDEN[name]), abs=2e-6)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        run_folder.WEIGHTS, run_folder.CONFIG, run_folder.CARD,
    }  # fmt: skip


def test_what_the_run_says_of_itself(bring: Import, tmp_path: Path) -> None:
    bring(HERE / "notebook-3.keras", "--corpus", CORPUS, "--out", tmp_path)
    config = json.loads((tmp_path / run_folder.CONFIG).read_text(encoding="utf-8"))
    text = NOTEBOOK(CORPUS.read_text(encoding="utf-8"))
    assert config["initial"] == [text.count(c) for c in VOCABULARY.characters]
    training = config["training"]
    assert (training["recipe"], training["seq_len"]) == ("notebook", 40)
    assert (training["source"], training["initial"]) == ("keras", "corpus")
    assert config["corpus"]["files"] == ["corpus.txt"]
    assert str(HERE) not in json.dumps(config), "a path of this machine"
    card = (tmp_path / run_folder.CARD).read_text(encoding="utf-8")
    assert "1 × LSTM(12)" in card
    assert "perhaps all of it" in card
    assert "`charlm-gen --window 40`" in card


def test_the_figures_are_those_of_the_run(bring: Import, tmp_path: Path) -> None:
    _, lines = bring(HERE / "stacked-2.keras", "--corpus", CORPUS, "--out", tmp_path)
    run = run_folder.load_run(tmp_path)
    ids = VOCABULARY.encode(NOTEBOOK(CORPUS.read_text(encoding="utf-8")))
    test = ids[len(ids) * 95 // 100 :]
    results = run.summary["results"]
    carried, by_windows = bits_per_character(run.model, test), windowed_bits(run.model, test, 40)
    assert results["test_bits_per_character"] == pytest.approx(carried, abs=1e-4)
    assert results["windowed_bits_per_character"] == pytest.approx(by_windows, abs=1e-4)
    assert results["held_out"] is False
    assert f"{carried:.3f} bits/char with the state carried" in lines[1]
    assert f"{by_windows:.3f} by windows of 40 ({len(test) - 40} characters)" in lines[1]


def test_bits_by_windows_are_those_of_single_windows(
    bring: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(HERE / "notebook-3.keras", "--corpus", CORPUS, "--out", tmp_path)
    model = run_folder.load_run(tmp_path).model
    ids = VOCABULARY.encode("the lamp in the cellar").astype(np.int64)
    surprises = []
    for place in range(7, len(ids)):
        state = model.zero_state(1)
        with torch.no_grad():
            for token in ids[place - 7 : place]:
                logits, state = model.step(torch.tensor([token]), state)
        surprises.append(-logits.log_softmax(dim=1)[0, ids[place]].item() / np.log(2))
    assert windowed_bits(model, ids, 7) == pytest.approx(float(np.mean(surprises)), abs=1e-5)
    monkeypatch.setattr(evaluate, "STEPS", 20)  # two windows a call
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    assert windowed_bits(model, ids, 7) == pytest.approx(float(np.mean(surprises)), abs=1e-5)
    assert {shape[:2] for shape in shapes[:-1]} == {(7, 2)}


def test_a_list_of_characters_in_any_order(bring: Import, tmp_path: Path) -> None:
    """The n-th character of the list is the model's n-th: here the roles are turned round."""
    turned = tmp_path / "characters.json"
    turned.write_text(json.dumps(list(reversed(VOCABULARY.characters))), encoding="utf-8")
    name = "stacked-3.keras"
    code, lines = bring(HERE / name, "--vocabulary", turned, "--out", tmp_path / "run")
    assert code == 0
    assert "drawn evenly from all, and no bits per character were measured" in lines[1]
    run = run_folder.load_run(tmp_path / "run")
    assert run.vocabulary == VOCABULARY
    assert set(run.initial) == {1 / len(VOCABULARY)}
    assert run.summary["training"]["initial"] == "uniform"
    assert run.summary["results"]["test_bits_per_character"] is None
    mirrored = len(VOCABULARY) - 1 - WINDOWS  # what Keras read as these ids, we must write so
    tokens = torch.from_numpy(mirrored.T.copy())
    with torch.no_grad():
        hidden, _ = run.model(tokens, run.model.zero_state(len(WINDOWS)))
        found = run.model.head(hidden[-1]).softmax(dim=1).numpy()[:, ::-1]
    assert found == pytest.approx(np.array(GOLDEN[name]), abs=2e-6)
    assert "drawn evenly" in (tmp_path / "run" / run_folder.CARD).read_text(encoding="utf-8")


def test_a_list_beside_a_corpus_gives_the_ids_and_the_corpus_the_frequencies(
    bring: Import, tmp_path: Path
) -> None:
    listed = tmp_path / "characters.json"
    listed.write_text(json.dumps(list(VOCABULARY.characters)), encoding="utf-8")
    part = tmp_path / "part.txt"
    part.write_text("the lamp and the hall. " * 30, encoding="utf-8")
    given = ["--vocabulary", listed, "--corpus", part, "--out", tmp_path / "run"]
    assert bring(HERE / "notebook-3.h5", *given)[0] == 0
    run = run_folder.load_run(tmp_path / "run")
    assert run.vocabulary == VOCABULARY
    share = dict(zip(run.vocabulary.characters, run.initial, strict=True))
    assert share["h"] == pytest.approx(3 / 23)
    assert share["y"] == 0
    part.write_text("the lamp @ the hall. " * 30, encoding="utf-8")
    line = refused(bring, HERE / "notebook-3.h5", *given, "--overwrite")
    assert "'@' (U+0040), which is not in the list" in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('["a", "b"]', "2 characters, and the model predicts 34"),
        ('{"a": 0}', "not a list of characters"),
        ("[1, 2]", "not a list of characters"),
        ("nonsense", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (json.dumps(["a", *VOCABULARY.characters[1:]]), "'a' is in the list twice"),
        (json.dumps(["ab", *VOCABULARY.characters[1:]]), "single characters, not 'ab'"),
        (json.dumps(["A", *VOCABULARY.characters[1:]]), "'A' is in the list, but no text has it"),
    ],
)
def test_a_list_that_is_none(content: str, words: str, bring: Import, tmp_path: Path) -> None:
    listed = tmp_path / "list.json"
    listed.write_text(content, encoding="utf-8")
    out = tmp_path / "run"
    line = refused(bring, HERE / "notebook-3.h5", "--vocabulary", listed, "--out", out)
    assert words in line
    assert not out.exists()


def test_another_normalisation_is_named_where_it_fits(bring: Import, tmp_path: Path) -> None:
    given = [HERE / "notebook-3.h5", "--corpus", CORPUS, "--out", tmp_path / "run"]
    line = refused(bring, *given, "--case", "keep", "--newlines", "keep")
    assert "and the model predicts 34: try --case lower --newlines drop --no-nfc" in line


def test_a_corpus_of_another_alphabet(bring: Import, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("abc" * 100, encoding="utf-8")
    out = tmp_path / "run"
    line = refused(bring, HERE / "notebook-3.h5", "--corpus", other, "--out", out)
    assert "3 distinct characters" in line
    assert "give the very text" in line
    assert not out.exists()


def test_no_character_of_a_notebooks_corpus_is_rare(tmp_path: Path) -> None:
    text = "".join(chr(0x4E00 + place) for place in range(600))
    other, listed = tmp_path / "zh.txt", tmp_path / "zh.json"
    other.write_text(text, encoding="utf-8")
    listed.write_text(json.dumps([*text]), encoding="utf-8")
    for vocabulary in (None, listed):
        request = ImportRequest(HERE / "notebook-3.h5", (other,), vocabulary)
        characters, corpus, ids = _characters(request, 600)
        assert "".join(characters.vocabulary.characters) == text
        assert ids is not None
        assert corpus is not None
        assert characters.vocabulary.decode(ids) == text
    shorter = read_corpus([other], NOTEBOOK, wanted=EVERY)
    with pytest.raises(VocabularyError, match="600 distinct characters"):
        of_corpus(shorter, 602, (other,), "utf-8")


def test_neither_corpus_nor_list(bring: Import, tmp_path: Path) -> None:
    line = refused(bring, HERE / "notebook-3.h5", "--out", tmp_path / "run")
    assert "--corpus" in line
    assert "--vocabulary" in line


def test_a_folder_that_holds_a_run(
    bring: Import, train: Callable[..., tuple[int, list[str]]], tiny_text: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    given = [HERE / "notebook-3.h5", "--corpus", CORPUS, "--out", folder]
    assert bring(*given)[0] == 0
    assert "holds an imported model" in refused(bring, *given)
    assert bring(*given, "--overwrite")[0] == 0
    fast = ["--epochs", "1", "--hidden", "4", "--batch-size", "4", "--out", folder]
    for more in ([], ["--resume"]):
        code, lines = train(tiny_text, *fast, *more)
        assert (code, len(lines)) == (2, 1)
        assert "no training state to resume: fine-tune it with" in lines[0]
    code, lines = train("--resume", "--out", folder)
    assert (code, len(lines)) == (2, 1)
    assert "no training state to resume: fine-tune it with" in lines[0]
    assert train(tiny_text, *fast, "--overwrite")[0] == 0
    assert (folder / FILE).is_file()
    assert "holds a run already" in refused(bring, *given)


@pytest.mark.parametrize("moment", ["written", "renamed"])
def test_an_overwritten_run_stays_until_the_import_is_written(
    moment: str, bring: Import, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (folder / files.PAGE).write_text("a report")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    given = [HERE / "notebook-3.h5", "--corpus", CORPUS, "--out", folder, "--overwrite"]

    def full(*arguments: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    replace = Path.replace

    def refuse(temporary: Path, path: Path) -> Path:
        return full() if path.name == run_folder.CONFIG else replace(temporary, path)

    if moment == "written":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", refuse)
    assert "no space left on device" in refused(bring, *given)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()
    assert bring(*given)[0] == 0
    left = {path.name for path in folder.iterdir()}
    assert left == {run_folder.WEIGHTS, run_folder.CONFIG, run_folder.CARD}


def test_overwriting_spares_what_is_no_run(bring: Import, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear", encoding="utf-8")
    given = [HERE / "notebook-3.h5", "--corpus", CORPUS, "--out", tmp_path, "--overwrite"]
    assert "--overwrite throws away only runs" in refused(bring, *given)
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize(("length", "count"), [(40, 64), (1000, 4), (4096, 1)])
def test_the_proof_takes_fewer_windows_where_they_are_long(length: int, count: int) -> None:
    ids = np.zeros(10_000, dtype=np.uint8)
    assert _windows(ids, length, 3).shape == _windows(None, length, 3).shape == (count, length)


def test_the_proof_takes_shorter_windows_of_a_large_vocabulary() -> None:
    """Keras reads one-hot characters: a whole window of these would take 17 GB."""
    count, length = _windows(None, 4096, 0x110000).shape
    assert 4 * count * length * 0x110000 <= 1 << 26


@pytest.mark.parametrize("parameter", ["lstm.weight_hh_l1", "lstm.weight_ih_l0", "lstm.bias_ih_l0"])
def test_gates_in_another_order_are_found_out(parameter: str) -> None:
    """The proof that an import makes before it writes."""
    keras = read_keras(HERE / "stacked-3.h5")
    order = np.arange(len(VOCABULARY))
    model = to_torch(keras.weights(), order)
    assert prove_equal(keras, model, WINDOWS, order) < 1e-6
    weights = model.state_dict()[parameter]
    weights.copy_(torch.cat([weights.chunk(4)[block] for block in (0, 1, 3, 2)]))
    with pytest.raises(ModelFileError, match="differs from Keras by"):
        prove_equal(keras, model, WINDOWS, order)
