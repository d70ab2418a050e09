"""Runs that begin from trained weights: characters mapped and added, sizes kept, resumed."""

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from charlm.data.system.errors import RunError
from charlm.data.text.ids import re_encode
from charlm.data.text.normalise import NOTEBOOK, Normalisation
from charlm.data.text.rare import RareSettings
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.config import ADAM_LR, Options, TrainingConfig
from charlm.train.loop.evaluate import bits_per_character
from charlm.train.model import CharLSTM
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import Checkpoint, Tensors
from charlm.train.setup.defaults import FINE_TUNING
from charlm.train.setup.start import RunRequest, Started, start
from tests.support.forked import Forks
from tests.train.helpers import Train, content, refused

FAST = ["--epochs", "1", "--batch-size", "4", "--seq-len", "32", "--threads", "1"]


@pytest.fixture(scope="module")
def greek(tmp_path_factory: pytest.TempPathFactory, prose: str) -> Path:
    """A text with characters that the source lacks, and without some that it has."""
    path = tmp_path_factory.mktemp("greek") / "greek.txt"
    text = prose[:3000].replace("th", "θ").replace("sh", "φ").replace("w", "")
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def begin(text: Path, run: Path, out: Path, **more: object) -> tuple[Started, Tensors]:
    """A run that begins from another, and its weights of step 0."""
    started = start(RunRequest(texts=(text,), out=out, init_from=run, **more))  # type: ignore[arg-type]
    assert started.weights is not None
    return started, started.weights


def test_the_same_characters_begin_with_the_very_weights(
    tiny_run: Path, tiny_text: Path, tmp_path: Path
) -> None:
    _, found = begin(tiny_text, tiny_run, tmp_path / "run")
    for name, weights in run_folder.load_run(tiny_run).model.state_dict().items():
        assert torch.equal(found[name], weights), name


def test_characters_are_mapped_and_new_ones_added(
    tiny_run: Path, greek: Path, tmp_path: Path
) -> None:
    old = run_folder.load_run(tiny_run)
    started, found = begin(greek, tiny_run, tmp_path / "run")
    setup = started.setup
    vocabulary = Vocabulary(setup.vocabulary)
    assert set(vocabulary.characters) == {*old.vocabulary.characters, "θ", "φ"}
    assert setup.initial[vocabulary.id_of("w")] == 0
    text = vocabulary.decode(np.concatenate(started.splits))
    assert text == greek.read_text(encoding="utf-8")
    known = old.model.state_dict()
    for character in old.vocabulary.characters:
        ours, theirs = vocabulary.id_of(character), old.vocabulary.id_of(character)
        assert torch.equal(
            found["lstm.weight_ih_l0"][:, ours], known["lstm.weight_ih_l0"][:, theirs]
        )
        assert torch.equal(found["head.weight"][ours], known["head.weight"][theirs])
        assert found["head.bias"][ours] == known["head.bias"][theirs]
    for name in ("lstm.weight_hh_l0", "lstm.bias_ih_l1", "lstm.weight_ih_l1", "lstm.bias_hh_l0"):
        assert torch.equal(found[name], known[name])
    for character in "θφ":
        drawn = found["lstm.weight_ih_l0"][:, vocabulary.id_of(character)]
        limit = (6 / (4 * 16 + len(vocabulary))) ** 0.5  # Glorot's, of the matrix's two sides
        assert 0.5 * limit < drawn.abs().max() <= limit
    new = vocabulary.id_of("θ"), vocabulary.id_of("φ")
    assert setup.initial[new[0]] > setup.initial[new[1]] > 0
    assert found["head.bias"][new[0]] > found["head.bias"][new[1]]


def test_the_extended_model_reads_old_text_as_the_old_one_does(
    tiny_run: Path, greek: Path, tmp_path: Path
) -> None:
    """But for what it gives to characters that it has not seen."""
    old = run_folder.load_run(tiny_run)
    started, weights = begin(greek, tiny_run, tmp_path / "run")
    vocabulary = Vocabulary(started.setup.vocabulary)
    model = CharLSTM(started.setup.model)
    model.load_state_dict(weights)
    ids = old.vocabulary.encode("the lamp in the cellar").astype(np.int64)
    mapped = re_encode(ids, old.vocabulary, vocabulary).astype(np.int64)
    place = torch.from_numpy(old.vocabulary.places_in(vocabulary))
    state, own = model.zero_state(1), old.model.zero_state(1)
    with torch.no_grad():
        for theirs, ours in zip(ids, mapped, strict=True):
            wanted, own = old.model.step(torch.tensor([theirs]), own)
            logits, state = model.step(torch.tensor([ours]), state)
            assert torch.allclose(logits[:, place], wanted, atol=1e-6)


def test_new_weights_depend_on_the_seed(tiny_run: Path, greek: Path, tmp_path: Path) -> None:
    one, same, other = (
        begin(greek, tiny_run, tmp_path / str(n), options={"seed": seed})[1]["head.weight"]
        for n, seed in enumerate((1, 1, 2))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_run_that_was_begun_so(tiny_run: Path, greek: Path, tmp_path: Path, train: Train) -> None:
    folder = tmp_path / "run"
    code, lines = train(greek, "--init-from", tiny_run, "--out", folder, *FAST, "--epochs", "4")
    assert code == 0
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256((tiny_run / run_folder.WEIGHTS).read_bytes()).hexdigest()
    begun = {"name": "tiny", "sha256": digest}
    assert config["training"]["initialised_from"] == begun
    assert (config["model"]["hidden"], config["model"]["layers"]) == (16, 2)
    assert f"| begun from | tiny (sha256 {digest}) |" in (folder / "README.md").read_text("utf-8")
    run = run_folder.load_run(folder)
    assert run.initial[run.vocabulary.id_of("w")] == 0
    fresh, weights = begin(greek, tiny_run, tmp_path / "again")
    model = CharLSTM(fresh.setup.model)
    model.load_state_dict(weights)
    before = bits_per_character(model, fresh.splits.validation)
    assert lines[1] == (
        f"{folder}: begins with the weights of tiny: validation {before:.3f} bits/char "
        "before training"
    )
    assert run.summary["results"]["validation_bits_per_character"] < before


def test_it_learns_faster_than_from_nothing(
    tiny_run: Path, tiny_text: Path, tmp_path: Path, train: Train
) -> None:
    train(tiny_text, "--out", tmp_path / "new", "--hidden", "16", "--layers", "2", *FAST)
    train(tiny_text, "--out", tmp_path / "tuned", "--init-from", tiny_run, *FAST)
    new, tuned = (
        run_folder.load_run(tmp_path / name).summary["results"]["validation_bits_per_character"]
        for name in ("new", "tuned")
    )
    assert tuned < new - 0.1


def test_the_sources_normalisation_holds_unless_another_is_said(
    finished: Path, tiny_text: Path, tmp_path: Path
) -> None:
    config = json.loads((finished / "config.json").read_text(encoding="utf-8"))
    config["normalisation"] = {"case": "lower", "newlines": "drop", "nfc": False}
    (finished / "config.json").write_text(json.dumps(config), encoding="utf-8")
    own, _ = begin(tiny_text, finished, tmp_path / "own")
    assert own.setup.normalisation == Normalisation("lower", nfc=False, newlines="drop")
    said, _ = begin(tiny_text, finished, tmp_path / "said", newlines="keep")
    assert said.setup.normalisation == Normalisation("lower", nfc=False, newlines="keep")


@pytest.mark.parametrize(
    ("options", "lr", "muon_lr", "dropout"),
    [
        ({}, TrainingConfig.lr / 4, TrainingConfig.muon_lr / 4, 0.0),
        ({"optimiser": "adam"}, ADAM_LR / 4, None, 0.0),
        ({"lr": 0.01}, 0.01, TrainingConfig.muon_lr / 4, 0.0),
        ({"dropout": 0.3, "layers": 2, "hidden": 16}, TrainingConfig.lr / 4, None, 0.3),
        ({"recipe": "notebook"}, 1e-3 / 4, None, 0.0),
    ],
)
def test_weights_that_have_learnt_are_moved_gently_and_keep_their_dropout(
    options: Options,
    lr: float,
    muon_lr: float | None,
    dropout: float,
    tiny_run: Path,
    tiny_text: Path,
    tmp_path: Path,
) -> None:
    said: Options = {"device": "cpu", **options}
    setup = begin(tiny_text, tiny_run, tmp_path / "run", options=said)[0].setup
    assert setup.training.lr == lr
    assert muon_lr in (None, setup.training.muon_lr)
    assert setup.training.epochs == (10 if "recipe" in options else FINE_TUNING)
    held_back = (setup.model.dropout, setup.model.output_dropout, setup.training.weight_decay)
    assert held_back == (dropout, 0.0, 0.0)


@pytest.mark.parametrize("option", ["--hidden", "--layers"])
def test_other_sizes_contradict_it(
    option: str, tiny_run: Path, tiny_text: Path, tmp_path: Path, train: Train
) -> None:
    out = tmp_path / "run"
    line = refused(train, tiny_text, "--init-from", tiny_run, "--out", out, option, "3")
    assert f"{option} 3 contradicts --init-from: tiny has 2 x LSTM(16); leave it out" in line
    assert not out.exists()


def test_what_can_not_be_begun_from(
    tiny_run: Path, tiny_text: Path, tmp_path: Path, train: Train
) -> None:
    given = [tiny_text, "--out", tmp_path / "run", "--init-from"]
    assert "no such file" in refused(train, *given, tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is not a run folder: it has no config.json" in refused(train, *given, empty)
    assert "name a run folder or a .onnx file" in refused(train, *given, tiny_text)
    keras = Path(__file__).parents[1] / "keras" / "notebook-3.keras"
    assert f"first, with charlm-import {keras} --corpus TEXT" in refused(train, *given, keras)
    assert not (tmp_path / "run").exists()


def test_the_source_is_not_thrown_away(finished: Path, tiny_text: Path, train: Train) -> None:
    before = content(finished)
    line = refused(train, tiny_text, "--init-from", finished, "--out", finished, "--overwrite")
    assert "is where --init-from takes the weights from" in line
    assert content(finished) == before


def test_resuming_names_the_same_source_or_none(
    tiny_run: Path, greek: Path, tmp_path: Path, train: Train
) -> None:
    folder = tmp_path / "run"
    given = [greek, "--out", folder, *FAST]
    assert train(*given, "--init-from", tiny_run)[0] == 0
    assert train(*given, "--init-from", tiny_run, "--resume")[0] == 0
    assert train("--out", folder, "--resume")[0] == 0
    line = refused(train, "--out", folder, "--resume", "--init-from", folder)
    assert "was begun from other weights than those of" in line
    line = refused(train, "--out", tiny_run, "--resume", "--init-from", folder)
    assert "was not begun with --init-from" in line


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_killed_at_the_first_step_and_resumed_without_the_source(
    tiny_run: Path, greek: Path, tmp_path: Path, train: Train, forks: Forks
) -> None:
    """The weights of step 0 are in the training state: the source may be gone."""
    whole, killed, gone = tmp_path / "whole", tmp_path / "killed", tmp_path / "source"
    shutil.copytree(tiny_run, gone)
    assert train(greek, "--init-from", gone, "--out", whole, *FAST)[0] == 0
    given = ["step:1", greek, "--init-from", gone, "--out", killed, *FAST]
    ended = forks("tests.train.runs.kill_driver:main", "kill_driver.py", *given)
    assert ended.returncode == -signal.SIGKILL
    shutil.rmtree(gone)
    assert train("--resume", "--out", killed)[0] == 0
    name = run_folder.WEIGHTS
    assert (killed / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = Checkpoint.load(killed), Checkpoint.load(whole)
    assert ours.setup == theirs.setup
    for name, weights in theirs.progress.weights.items():
        assert torch.equal(ours.progress.weights[name], weights)


def test_ids_by_another_vocabulary_are_the_same_text() -> None:
    old, new = Vocabulary("abc"), Vocabulary("cbxa" + "".join(map(chr, range(0x400, 0x520))))
    ids = re_encode(old.encode("cabba"), old, new)
    assert new.decode(ids) == "cabba"
    assert ids.dtype == new.dtype == np.uint16
    assert new.places_in(old)[new.id_of("x")] == -1


def test_what_the_source_does_with_unknown_characters_goes_on(
    tiny_run: Path, tiny_text: Path, greek: Path, tmp_path: Path, train: Train
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert train(tiny_text, "--rare", "replace", "--out", first, *FAST)[0] == 0
    assert train(greek, "--init-from", first, "--out", second, *FAST)[0] == 0
    run = run_folder.load_run(second)
    assert run.rare.unknown == "\ufffd"
    assert {"\ufffd", "θ"} <= set(run.vocabulary.characters)
    said, _ = begin(greek, first, tmp_path / "other", rare=RareSettings("drop"))
    assert said.setup.rare.policy == "drop"
    third, _ = begin(greek, tiny_run, tmp_path / "third")
    assert third.setup.rare.policy == "error"


def test_a_large_text_takes_no_letter_from_the_source(
    tiny_run: Path, tmp_path: Path, prose: str
) -> None:
    """Of a text with hundreds of characters those that it hardly shows are rare, but not these."""
    seldom = "qz"
    many = "".join(chr(0x4E00 + place) for place in range(600)) * 3
    plain = "".join(each for each in prose if each not in seldom)
    text = tmp_path / "many.txt"
    text.write_text(f"{plain}{many}{seldom}{plain}αβ{plain}", encoding="utf-8", newline="\n")
    assert set(seldom) <= set(run_folder.load_run(tiny_run).vocabulary.characters)
    started, _ = begin(text, tiny_run, tmp_path / "run")
    assert started.setup.rare.characters == 2
    found = Vocabulary(started.setup.vocabulary).decode(np.concatenate(started.splits))
    assert found == text.read_text(encoding="utf-8").translate({ord(c): "\ufffd" for c in "αβ"})


def test_a_model_that_ships_goes_by_its_name(
    tiny_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    setup = begin(tiny_text, Path("lovecraft"), tmp_path / "run")[0].setup
    assert (setup.model.hidden, setup.normalisation) == (192, NOTEBOOK)
    assert setup.initialised_from is not None
    assert setup.initialised_from["name"] == "lovecraft.onnx"
    with pytest.raises(RunError, match="can't read shakespeare: no such file"):
        begin(tiny_text, Path("shakespeare"), tmp_path / "other")
