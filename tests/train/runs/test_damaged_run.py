"""Damaged copies of a run folder, by chance with fixed seeds: only errors that a user can read.

Whatever is wrong with a folder, who resumes it, reports on it, exports it, or begins from it gets a
`CharlmError`; or the damage does no harm.
"""

import copy
import json
import math
import random
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from charlm.data.system.errors import CharlmError, RunError
from charlm.export.contract import Metadata
from charlm.train.loop.training import Trainer
from charlm.train.report import measure
from charlm.train.report.subject import about, points, read_subject
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import FILE, Checkpoint
from charlm.train.runs.resume import resume
from charlm.train.runs.run_folder import CONFIG, METRICS, WEIGHTS
from charlm.train.setup.source import read_source
from charlm.train.setup.start import RunRequest
from tests.train.helpers import Train, Watcher, refused

SEEDS = 300
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 10**30, 0.5, -0.5, 1e39, math.nan, math.inf, "", "text", "3", [], [1],
    ["a", "b"], {}, {"a": 1}, {1: {}},
)  # fmt: skip
SPARED = {"format"}  # has tests of its own


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to each value inside a value, at any depth."""
    keys: Any = ()
    if isinstance(value, dict):
        keys = [key for key in value if key not in SPARED]
    elif isinstance(value, list | tuple):
        keys = range(min(len(value), 4))
    return [each for key in keys for each in ((*above, key), *places(value[key], (*above, key)))]


def replaced(value: Any, way: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy with what stands at the end of a way changed; `KeyError` leaves it out."""
    if not way:
        return change(value)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = {}
    for key in keys:
        try:
            found[key] = replaced(value[key], way[1:], change) if key == way[0] else value[key]
        except KeyError:
            continue
    return found if isinstance(value, dict) else type(value)(found.values())


def spoil(value: Any, chance: random.Random) -> Any:
    """Something else in a value's place."""
    if chance.random() < 0.2:
        raise KeyError
    if not isinstance(value, Tensor) or chance.random() < 0.3:
        return copy.deepcopy(chance.choice(VALUES))
    spoilt = value.clone()
    if spoilt.is_floating_point() and chance.random() < 0.5:
        spoilt.view(-1)[chance.randrange(spoilt.numel())] = chance.choice((math.nan, math.inf))
        return spoilt
    ways: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda t: t.view(-1)[:-1], lambda t: t[None], lambda t: t.to(torch.int64),
        lambda t: t.double(), lambda t: t.to(torch.bool), lambda t: torch.zeros(0),
    )  # fmt: skip
    return chance.choice(ways)(spoilt).clone()


def damage(folder: Path, seed: int) -> tuple[str, tuple[Any, ...]]:
    """Spoil one value of one file, chosen by a seed; the file, and the way to the value."""
    chance = random.Random(seed)
    name = chance.choice((CONFIG, CONFIG, METRICS, WEIGHTS, FILE, FILE, FILE))
    path, content = folder / name, (folder / name).read_bytes()
    value: Any
    if name == CONFIG:
        value = json.loads(content)
    elif name == METRICS:
        value = list(map(json.loads, content.splitlines()))
    else:
        value = load(content) if name == WEIGHTS else torch.load(path, weights_only=True)
    every = places(value)
    depth = chance.choice(sorted({len(way) for way in every}))  # not the vocabulary alone
    way = chance.choice([way for way in every if len(way) == depth])
    value = replaced(value, way, lambda old: spoil(old, chance))
    if name == CONFIG:
        path.write_text(json.dumps(value))
    elif name == METRICS:
        path.write_text("".join(json.dumps(record) + "\n" for record in value))
    elif name == FILE:
        torch.save(value, path)
    elif all(isinstance(each, Tensor) for each in value.values()):
        path.write_bytes(save(value))
    return name, way


def go_on(folder: Path) -> None:
    # The versions are a question to a user, and the tests of `changes`.
    started = resume(folder, RunRequest(out=folder, resume=True, accept_changes=True))
    progress = started.progress
    assert progress is not None
    trainer = Trainer(started.setup, started.splits, progress)
    for tokens, targets in islice(trainer.batches.epoch(0, 0), 2):
        trainer._step(tokens, targets)
    if not trainer._ended():
        trainer._save(Watcher(), epoch_ended=False)
        run_folder.describe(Checkpoint(started.setup, trainer.progress))
    elif not progress.finished:
        trainer._score_test()


def report(folder: Path) -> None:
    subject = read_subject(folder)
    extent = measure.choose_extent(
        subject.run.model.config, len(subject.splits.train), len(subject.splits.test),
        measure.seconds_for(subject.results.get("seconds")), None,
    )  # fmt: skip
    points(subject)
    about(subject)
    measure.notes(subject, extent)


def export(folder: Path) -> None:
    run = run_folder.load_run(folder)
    config = run.model.config
    Metadata(
        config.hidden, config.layers, run.vocabulary, run.normalisation, run.initial, "0" * 64,
        run.summary, run.rare,
    ).to_json()  # fmt: skip
    assert all(bool(weights.isfinite().all()) for weights in run.model.parameters())


USES: dict[str, tuple[Callable[[Path], object], ...]] = {
    CONFIG: (report, export),
    METRICS: (report,),
    WEIGHTS: (export, read_source),
    FILE: (report, go_on),
}


@pytest.fixture(scope="module")
def unfinished(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("unfinished") / "run"))
    saved = Checkpoint.load(folder)
    saved.progress.finished = False
    assert saved.progress.total_steps is not None
    saved.progress.total_steps += 10
    saved.save(folder)
    run_folder.write(folder, saved)
    return folder


@pytest.mark.parametrize("begin", range(0, SEEDS, 100))
def test_damage_is_an_error_that_a_user_can_read(
    tiny_run: Path, unfinished: Path, tmp_path: Path, begin: int
) -> None:
    refused = 0
    for seed in range(begin, begin + 100):
        folder = Path(shutil.copytree((tiny_run, unfinished)[seed % 2], tmp_path / str(seed)))
        name, way = damage(folder, seed)
        for use in USES[name]:
            try:
                use(folder)
            except CharlmError as error:
                refused += 1
                message = str(error)
            except Exception as error:
                pytest.fail(f"seed {seed}, {name}, {way}: {use.__name__}: {error!r}")
            else:
                continue
            assert "\n" not in message
        shutil.rmtree(folder)
    assert refused > 50


@pytest.mark.parametrize(
    ("file", "way", "value", "words"),
    [
        (CONFIG, ("results", "steps"), KeyError, "results.steps is missing"),
        (CONFIG, ("training", "batch_size"), KeyError, "training.batch_size is missing"),
        (CONFIG, ("training", "epochs"), [3], "training.epochs is not a whole number or null"),
        (CONFIG, ("corpus",), [], "corpus is not an object"),
        (METRICS, (0, "train_bits"), "2", "train_bits is not a finite number"),
        (FILE, ("progress", "rng"), torch.zeros(3), "progress.rng"),
        (FILE, ("progress", "step"), "3", "progress.step is not a whole number"),
        (FILE, ("progress", "epoch"), None, "progress.epoch is not a whole number"),
        (FILE, ("progress", "carried"), (torch.zeros(1), torch.zeros(1)), "progress.carried"),
        (FILE, ("progress", "total_steps"), [], "progress.total_steps"),
        (FILE, ("progress", "optimiser", "parts", 0, "param_groups"), [], "param_groups"),
        (FILE, ("progress", "optimiser", "parts", 0, "state", 0), 3, "state"),
        (FILE, ("progress", "optimiser", "parts", 1, "param_groups", 0, "lr"), "1", "lr"),
        (FILE, ("progress", "optimiser", "parts", 0, "param_groups", 0, "betas"), 1, "betas"),
        (FILE, ("setup", "sha256"), 3, "setup.sha256 is not a text"),
        (FILE, ("setup", "initialised_from"), {"name": "x"}, "initialised_from.sha256 is missing"),
    ],
)
def test_damage_is_named(
    finished: Path, file: str, way: tuple[Any, ...], value: Any, words: str
) -> None:
    def change(old: Any) -> Any:
        if value is KeyError:
            raise KeyError
        return value

    path = finished / file
    if file == FILE:
        torch.save(replaced(torch.load(path, weights_only=True), way, change), path)
    elif file == CONFIG:
        path.write_text(json.dumps(replaced(json.loads(path.read_text()), way, change)))
    else:
        lines = list(map(json.loads, path.read_text().splitlines()))
        path.write_text("\n".join(map(json.dumps, replaced(lines, way, change))))
    read = {FILE: Checkpoint.load, CONFIG: run_folder.load_run, METRICS: run_folder.read_metrics}
    with pytest.raises(RunError) as error:
        read[file](finished)
    message = str(error.value)
    assert str(path) in message
    assert words in message
    assert "charlm-train" in message


def test_weights_that_are_not_finite(finished: Path, tmp_path: Path, train: Train) -> None:
    weights = load((finished / WEIGHTS).read_bytes())
    weights["head.bias"][0] = math.nan
    (finished / WEIGHTS).write_bytes(save(weights))
    line = refused(train, "--init-from", finished, "--out", tmp_path / "new")
    assert f"{WEIGHTS}: damaged" in line
    assert "head.bias holds numbers that are not finite; have it written anew with:" in line
