"""Trained weights to begin from: a run folder, an exported model, or one that ships with charlm."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from charlm.data.system.errors import RunError
from charlm.data.system.files import os_errors_as
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import NOTHING_RARE, Rare
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.model import CharLSTM
from charlm.train.runs import run_folder

KERAS = (".keras", ".h5", ".hdf5")


@dataclass(frozen=True)
class Source:
    """A trained model to begin from."""

    name: str  # of the folder or file, without its path
    # Of `model.safetensors` for a run, of the weights (`charlm.weights_sha256`) for a model file.
    sha256: str
    model: CharLSTM  # on the CPU
    vocabulary: Vocabulary  # a character's index is its token id
    normalisation: Normalisation  # what was done to the text that the model learnt from
    rare: Rare = NOTHING_RARE  # what became of its rare characters


# What a model file is, export knows, and infer has those that ship: the two functions that ask them
# import them as they are called, the only ones of charlm that go against the flow of imports.


def shipped(path: Path) -> Path:
    """The file of a model that ships with charlm, where `path` is its name; else `path`."""
    from charlm.infer.model.shipped import NAMES, shipped_model

    named = str(path) in NAMES and not path.exists()
    return shipped_model(str(path)) if named else path


def read_source(path: Path) -> Source:
    """Read the weights of a run folder, of a model file, or of a model that has a name.

    Raises:
        RunError: there is nothing to begin from; says what would be.
        ModelFileError: a model file that is not one of charlm, or damaged.
    """
    path = shipped(path)
    if path.is_dir():
        return _read_run(path)
    with os_errors_as(RunError, f"can't read {path}"):
        path.stat()
    if path.suffix in KERAS:
        raise RunError(
            f"{path}: a Keras model: make a run folder of it first, with charlm-import {path} "
            "`corpus` TEXT, and begin from that"
        )
    if path.suffix != ".onnx":
        raise RunError(f"{path}: to begin from, name a run folder or a .onnx file of charlm-export")
    from charlm.export.as_source import read_onnx

    return read_onnx(path)


def _read_run(folder: Path) -> Source:
    run = run_folder.load_run(folder)
    weights = folder / run_folder.WEIGHTS
    with os_errors_as(RunError, f"can't read {weights}"), weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(
        folder.resolve().name, digest, run.model, run.vocabulary, run.normalisation, run.rare
    )
