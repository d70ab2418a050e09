"""Run folders written and read back."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from charlm.data.system.errors import RunError
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint
from charlm.train.runs.run_folder import CONFIG, DERIVED, WEIGHTS


@pytest.fixture
def folder(tiny_run: Path, tmp_path: Path) -> Path:
    """A finished run that a test may change."""
    return Path(shutil.copytree(tiny_run, tmp_path / "tiny"))


def test_what_is_written_is_read_back(tiny_run: Path) -> None:
    saved = Checkpoint.load(tiny_run)
    run = run_folder.load_run(tiny_run)
    assert saved.progress.best_weights is not None
    for name, weights in run.model.state_dict().items():
        assert torch.equal(weights, saved.progress.best_weights[name])
    assert not run.model.training
    assert run.model.config == saved.setup.model
    assert run.vocabulary.characters == saved.setup.vocabulary
    assert run.normalisation == saved.setup.normalisation
    assert sum(run.initial) == pytest.approx(1)
    total = sum(saved.setup.initial)
    assert run.initial == pytest.approx([count / total for count in saved.setup.initial])
    assert run.summary["results"]["test_bits_per_character"] == saved.progress.test_bits


def test_a_checkpoint_saved_again_says_the_same(tiny_run: Path, tmp_path: Path) -> None:
    saved = Checkpoint.load(tiny_run)
    saved.save(tmp_path)
    again = Checkpoint.load(tmp_path)
    assert again.setup == saved.setup
    assert again.progress.metrics == saved.progress.metrics
    assert torch.equal(again.progress.rng, saved.progress.rng)


def test_derived_files_are_a_function_of_the_state(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    folder.mkdir()
    run_folder.write(folder, Checkpoint.load(tiny_run))
    for name in DERIVED:
        assert (folder / name).read_bytes() == (tiny_run / name).read_bytes(), name


def edit(**changes: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        (folder / CONFIG).write_text(json.dumps(config | changes), encoding="utf-8")

    return apply


def drop(key: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        del config[key]
        (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")

    return apply


def put(name: str, content: bytes) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return apply


def cut(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-10])


def lose_a_tensor(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    del weights["head.bias"]
    save_file(weights, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "is not a run folder: it has no config.json"),
        (lambda folder: (folder / WEIGHTS).unlink(), "is not whole: it has no model.safetensors"),
        (put(CONFIG, b"{"), "config.json: damaged"),
        (put(CONFIG, b"\xff\xfe"), "config.json: damaged"),
        (put(CONFIG, b"[]"), "not a run's configuration"),
        (edit(format=2), "format 2, of a newer charlm, and this one reads 1: update charlm"),
        (edit(format=0), "format 0, and this charlm reads 1: train again"),
        (drop("model"), "config.json: damaged: 'model' is missing"),
        (drop("initial"), "config.json: damaged: initial is missing"),
        (drop("results"), "config.json: damaged: results is missing"),
        (edit(model={"vocabulary": 3, "hidden": "wide"}), "config.json: damaged"),
        (edit(model=[1, 2]), "config.json: damaged"),
        (edit(vocabulary=["a", "b"]), "contradict each other"),
        (edit(vocabulary=5), "config.json: damaged"),
        (edit(initial=[1, 2, 3]), "contradict each other"),
        (edit(normalisation={"case": "upper"}), "config.json: damaged"),
        (put(WEIGHTS, b""), "model.safetensors: damaged"),
        (put(WEIGHTS, b"weights of another kind"), "model.safetensors: damaged"),
        (cut, "model.safetensors: damaged"),
        (lose_a_tensor, "model.safetensors: damaged, or of another model"),
    ],
)
def test_damage_is_one_clear_error(
    damage: Callable[[Path], object], words: str, folder: Path
) -> None:
    damage(folder)
    with pytest.raises(RunError) as error:
        run_folder.load_run(folder)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_frequencies_of_nothing_are_damage(folder: Path) -> None:
    size = len(run_folder.load_run(folder).vocabulary)
    edit(initial=[0] * size)(folder)
    with pytest.raises(RunError, match="initial holds no frequencies"):
        run_folder.load_run(folder)


def test_newest_is_the_run_written_last(tmp_path: Path) -> None:
    for number, name in enumerate(("old", "new", "older")):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text("{}")
        age = (3, 2, 4)[number]
        os.utime(tmp_path / name / CONFIG, (1000 - age, 1000 - age))
    (tmp_path / "no run").mkdir()
    assert run_folder.newest(tmp_path) == tmp_path / "new"
    (tmp_path / "older" / FILE).write_text("")
    assert run_folder.newest(tmp_path, holding=FILE) == tmp_path / "older"


def test_newest_of_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run under .*--run"):
        run_folder.newest(tmp_path / "runs")
    with pytest.raises(RunError, match=r"no run under .*--out"):
        run_folder.newest(tmp_path / "runs", holding=FILE)
