"""Run folders written and read back; a file that is missing, damaged or of another model.

What is derived from the training state can be had again, so resuming mends it; reading it says so.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from charlm.data.system.errors import RunError
from charlm.data.text.rare import NOTHING_RARE
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint
from charlm.train.runs.run_folder import CARD, CONFIG, DERIVED, WEIGHTS
from tests.train.helpers import FAST, Train, content, refused

Damage = Callable[[Path], object]


def make_folder_of(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Damage] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a folder": make_folder_of,
}
damaged = pytest.mark.parametrize("damage", DAMAGE)


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


def test_a_state_saved_again_says_the_same_and_so_do_its_derived_files(
    tiny_run: Path, tmp_path: Path
) -> None:
    saved, folder = Checkpoint.load(tiny_run), tmp_path / "tiny"
    folder.mkdir()
    saved.save(folder)
    again = Checkpoint.load(folder)
    assert again.setup == saved.setup
    assert again.progress.metrics == saved.progress.metrics
    assert torch.equal(again.progress.rng, saved.progress.rng)
    run_folder.write(folder, again)
    for name in DERIVED:
        assert (folder / name).read_bytes() == (tiny_run / name).read_bytes(), name


def test_an_epoch_that_was_cut_is_told_as_a_part(finished: Path) -> None:
    saved = Checkpoint.load(finished)
    saved.progress.metrics[-1]["epoch"] = 1.6
    assert run_folder.describe(saved)["results"]["epochs"] == 1.6


def test_the_report_of_a_run_that_goes_on_is_removed(finished: Path) -> None:
    saved, report = Checkpoint.load(finished), finished / "report.html"
    report.touch()
    run_folder.remove_older(finished, saved)
    assert report.exists()
    saved.progress.finished = False
    run_folder.remove_older(finished, saved)
    assert not report.exists()


def test_the_card_of_a_long_text_says_how_much_was_scored(finished: Path) -> None:
    saved = torch.load(finished / FILE, weights_only=True)
    setup = saved["setup"]
    setup["initial"] = (100_000_000, *setup["initial"][1:])
    torch.save(saved, finished / FILE)
    run_folder.write(finished, Checkpoint.load(finished))
    card = (finished / CARD).read_text(encoding="utf-8")
    assert "on 2,000,000 characters of the last 5 %, scored once" in card


def test_a_run_folder_of_before_there_were_rare_characters_loads(finished: Path) -> None:
    edit(rare=KeyError)(finished)
    assert run_folder.load_run(finished).rare == NOTHING_RARE


def edit(**changes: Any) -> Damage:
    """Change keys of `config.json`; `KeyError` takes one out, a dictionary changes some."""

    def apply(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        for key, value in changes.items():
            if value is KeyError:
                del config[key]
            elif callable(value):
                config[key] = value(config[key])
            else:
                config[key] = {**config[key], **value} if isinstance(value, dict) else value
        (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")

    return apply


def put(name: str, written: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(written)


def with_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    def apply(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS)

    return apply


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "is not a run folder: it has no config.json"),
        (put(CONFIG, b"{"), "config.json: damaged"),
        (put(CONFIG, b"\xff\xfe"), "config.json: damaged"),
        (put(CONFIG, b"[]"), "not a run's configuration"),
        (edit(format=2), "format 2, of a newer charlm, and this one reads 1: update charlm"),
        (edit(format=0), "format 0, and this charlm reads 1: train again"),
        (edit(model=KeyError), "config.json: damaged: 'model' is missing"),
        (edit(initial=KeyError), "config.json: damaged: initial is missing"),
        (edit(model={"hidden": "wide"}), "config.json: damaged"),
        (edit(model=[1, 2]), "config.json: damaged"),
        (edit(model={"hidden": 24}), "of another model than config.json: head.weight is ["),
        (edit(vocabulary=["a", "b"]), "contradict each other"),
        (edit(vocabulary=5), "config.json: damaged"),
        (edit(initial=[1, 2, 3]), "contradict each other"),
        (edit(initial=lambda counts: [0] * len(counts)), "initial holds no frequencies"),
        (edit(normalisation={"case": "upper"}), "config.json: damaged"),
        (put(WEIGHTS, b"weights of another kind"), "model.safetensors: damaged"),
        (with_tensors(lambda weights: weights.pop("head.bias")), "it has no head.bias"),
        (
            with_tensors(lambda weights: weights.update(extra=torch.zeros(1))),
            "it has extra, which the model has",
        ),
    ],
)
def test_damage_is_one_clear_error(damage: Damage, words: str, finished: Path) -> None:
    damage(finished)
    with pytest.raises(RunError) as error:
        run_folder.load_run(finished)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@damaged
@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_what_cannot_be_read_is_named_with_the_cure(name: str, damage: str, finished: Path) -> None:
    DAMAGE[damage](finished / name)
    with pytest.raises(RunError) as error:
        run_folder.load_run(finished)
    message = str(error.value)
    assert "\n" not in message
    assert name in message
    cure = f"charlm-train --resume --out {finished}"
    assert message.endswith("move it away" if damage == "a folder" else cure)
    (finished / FILE).unlink()
    with pytest.raises(RunError) as error:
        run_folder.load_run(finished)
    assert "--resume" not in str(error.value), "without a state it is no cure"


@damaged
def test_each_derived_file_is_had_again_by_resuming(
    damage: str, finished: Path, tiny_run: Path, train: Train
) -> None:
    for name in DERIVED:
        DAMAGE[damage](finished / name)
    if damage == "a folder":
        line = refused(train, "--resume", "--out", finished)
        assert "a folder is where a file should be: move it away" in line
    else:
        assert train("--resume", "--out", finished)[0] == 0
        assert content(finished) == content(tiny_run)


@damaged
@pytest.mark.parametrize("options", [["--resume"], ["--overwrite"], []])
def test_a_damaged_state(
    damage: str, options: list[str], finished: Path, tiny_text: Path, train: Train
) -> None:
    DAMAGE[damage](finished / FILE)
    before = content(finished)
    given = [tiny_text, "--out", finished, *FAST, *options]
    if options == ["--overwrite"] and damage not in ("a folder", "missing"):
        assert train(*given)[0] == 0, "what is thrown away need not be whole"
    else:
        refused(train, *given)
        assert content(finished) == before


def test_the_cure_of_a_damaged_state_keeps_the_weights(finished: Path) -> None:
    (finished / FILE).write_bytes(b"cut short")
    for cure in (f"TEXT --init-from {finished}", f"TEXT --overwrite --out {finished}"):
        with pytest.raises(RunError, match=rf"with: charlm-train {cure}$"):
            Checkpoint.load(finished)
        (finished / WEIGHTS).unlink(missing_ok=True)


def test_weights_that_there_cannot_be_yet(finished: Path) -> None:
    edit(results={"epochs": 0})(finished)
    (finished / WEIGHTS).unlink()
    with pytest.raises(RunError, match="no epoch has been completed yet; continue with: "):
        run_folder.load_run(finished)


def test_newest_is_the_run_written_last(tmp_path: Path) -> None:
    for name, written in (("old", 997), ("new", 998), ("older", 996)):
        (tmp_path / name).mkdir()
        (tmp_path / name / CONFIG).write_text("{}")
        os.utime(tmp_path / name / CONFIG, (written, written))
    (tmp_path / "no run").mkdir()
    assert run_folder.newest(tmp_path) == tmp_path / "new"
    (tmp_path / "older" / FILE).write_text("")
    assert run_folder.newest(tmp_path, holding=FILE) == tmp_path / "older"
    for holding, option in ((CONFIG, "`run`"), (FILE, "`out`")):
        with pytest.raises(RunError, match=rf"no run under .*{option}"):
            run_folder.newest(tmp_path / "runs", holding)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_names_need_not_be_unicode(tiny_run: Path, tmp_path: Path) -> None:
    saved, folder = Checkpoint.load(tiny_run), tmp_path / os.fsdecode(b"r\xff")
    folder.mkdir()
    setup = replace(saved.setup, files=(os.fsdecode(b"/t\xff.txt"),))
    run_folder.write(folder, replace(saved, setup=setup))
    assert run_folder.load_run(folder).summary["corpus"]["files"] == ["t\\xff.txt"]
    assert (folder / run_folder.CARD).read_text("utf-8").count("r\\xff") > 0
