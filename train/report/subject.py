"""What a report is about: a trained model, its text in splits, and how it came about."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from charlm.data.system.errors import CorpusError, RunError
from charlm.data.text.corpus import Splits, digest_files, read_corpus
from charlm.data.text.limit import Alphabet
from charlm.train.config import STRIDE, WINDOW, ModelConfig, regularisation
from charlm.train.loop.batches import split_text
from charlm.train.runs import checkpoint, run_folder
from charlm.train.runs.checkpoint import Checkpoint, Record

LEAST = 8  # characters held out, for there to be anything to say


@dataclass(frozen=True)
class Point:
    """The model after an epoch; None for what was not recorded."""

    epoch: float
    characters: int
    seconds: float
    train_bits: float
    validation_bits: float | None


@dataclass(frozen=True)
class Subject:
    """A run and its text."""

    folder: Path  # of the run
    run: run_folder.Run  # its model, and what it says of itself
    splits: Splits  # the text in the model's token ids
    files: tuple[Path, ...]  # of the text
    metrics: tuple[Record, ...]  # a record for each evaluation; none where nobody trained it here

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the text's files, without their folders, which are nobody's business."""
        return tuple(path.name for path in self.files)

    @property
    def trained_here(self) -> bool:
        """Whether charlm trained the model, so that what was held out is known."""
        return bool(self.results.get("held_out", True))

    @property
    def training(self) -> dict[str, Any]:
        """The settings of its training."""
        found: dict[str, Any] = self.run.summary["training"]
        return found

    @property
    def results(self) -> dict[str, Any]:
        """What `config.json` says of how it ended."""
        found: dict[str, Any] = self.run.summary["results"]
        return found

    def text(self, ids: npt.NDArray[Any]) -> str:
        """Characters of token ids."""
        return self.run.vocabulary.decode(ids)

    @property
    def predicted_in_an_epoch(self) -> int:
        """How many characters of the text an epoch predicts."""
        learnt = len(self.splits.train)
        if self.training["recipe"] == "notebook":
            return max(0, -(-(learnt - WINDOW) // STRIDE))
        return learnt - 1


def read_subject(folder: Path, texts: Sequence[Path] = (), scratch: Path | None = None) -> Subject:
    """Read a run folder and the text that it was trained on.

    Args:
        folder: of the run.
        texts: where the text is now; without any, where it was when the run began.
        scratch: where many ids are kept; None for the run folder.

    Raises:
        RunError: there is no run, it is damaged, or its text is gone or not the same.
        CorpusError: the text can't be read, or is too short to be judged by.
    """
    run, scratch = run_folder.load_run(folder), scratch or folder
    files = tuple(texts) or _recorded(folder)
    corpus = run.summary["corpus"]
    final = bool(run.summary["training"].get("final", False))
    _check_same(folder, files, corpus.get("sha256"))
    encoding, alphabet = corpus.get("encoding") or "utf-8", Alphabet(run.vocabulary, run.rare)
    read = read_corpus(files, run.normalisation, encoding, alphabet=alphabet, scratch=scratch)
    splits = split_text(read.ids, final)
    if len(splits.test) < LEAST:
        raise CorpusError(
            f"{files[0]}: {len(read.ids)} characters, too few to judge a model by; "
            f"name a text of {20 * LEAST} at the least"
        )
    return Subject(folder, run, splits, files, run_folder.read_metrics(folder))


def _recorded(folder: Path) -> tuple[Path, ...]:
    """The text's files, as the run was begun with them."""
    command = f"charlm-report {shlex.quote(str(folder))} --corpus TEXT"
    if not checkpoint.exists(folder):
        raise RunError(f"{folder} does not say where its text is: name it, with {command}")
    files = tuple(Path(name) for name in Checkpoint.load(folder).setup.files)
    if gone := [str(path) for path in files if not path.is_file()]:
        raise RunError(
            f"{folder} was trained on {', '.join(gone)}, which is no longer there: "
            f"name the text where it is now, with {command}"
        )
    return files


def _check_same(folder: Path, files: Sequence[Path], recorded: str | None) -> None:
    """Before anything is read of them: another text may have other characters, or none."""
    if recorded is None:
        return
    if (found := digest_files(files)) != recorded:
        raise RunError(
            f"{', '.join(map(str, files))}: not the text that {folder} was trained on (sha256 "
            f"{found[:12]}…, not {recorded[:12]}…): bring that text back, or name it with `corpus`"
        )


def points(subject: Subject) -> tuple[Point, ...]:
    """The training's evaluations, in order."""
    found = []
    for record in subject.metrics:
        epoch, seconds, learning = (float(record[n]) for n in ("epoch", "seconds", "train_bits"))
        characters = round(epoch * subject.predicted_in_an_epoch)
        found.append(Point(epoch, characters, seconds, learning, record.get("validation_bits")))
    return tuple(found)


def about(subject: Subject) -> dict[str, str]:
    """Facts on model, text and training, by their names."""
    model, training = subject.run.model.config, subject.training
    learnt, results = subject.splits.train, subject.results
    facts = {
        "model": f"{model.layers} × LSTM({model.hidden}), {model.vocabulary} characters, "
        f"{model.parameters:,} parameters",
        "text": f"{', '.join(subject.texts)}: {sum(map(len, subject.splits)):,} characters, "
        f"{len(learnt):,} of them to learn from",
    }
    if subject.trained_here:
        facts["training"] = (
            f"recipe {training['recipe']}, {results['epochs']:.3g} epochs, "
            f"{results['steps']:,} steps, {results['seconds'] / 60:.1f} minutes "
            f"on {training['device']}"
        )
        facts["settings"] = _settings(training, model)
    else:
        facts["training"] = f"imported from {training.get('file', 'elsewhere')}"
    if counted := subject.run.rare.counted():
        facts["rare characters"] = counted.removeprefix(", rare characters ")
    return facts


def _settings(training: dict[str, Any], model: ModelConfig) -> str:
    begun = training.get("initialised_from")
    parts = [
        f"batch {training['batch_size']}",
        f"window {training['seq_len']}",
        f"{training.get('optimiser', 'adam')}, learning rate {training['lr']:g}",
        *regularisation(model, training.get("weight_decay")),
        *([f"begun from {begun['name']}"] if begun else []),
        f"seed {training['seed']}",
    ]
    return ", ".join(parts)
