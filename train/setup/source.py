"""Trained weights to begin from: a run folder, or a model file that another package can read.

What a model file is, `charlm.export` knows, and training may not import it: so whoever can read
one says so in its package's entry points, under `GROUP`, by the file's suffix, and is looked up
there. `charlm.export` does for `.onnx`. Whoever has models that go by a name says so under `NAMED`;
`charlm.infer` has those that ship.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from charlm.data.system.errors import RunError
from charlm.data.system.files import os_errors_as
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import NOTHING_RARE, Rare
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.model import CharLSTM
from charlm.train.runs import run_folder

GROUP, NAMED = "charlm.sources", "charlm.named_sources"
KERAS = (".keras", ".h5", ".hdf5")


@dataclass(frozen=True)
class Source:
    """A trained model to begin from.

    Attributes:
        name: of the folder or file, without its path.
        sha256: of `model.safetensors` for a run, of the weights (`charlm.weights_sha256`) for a
            model file.
        model: on the CPU.
        vocabulary: a character's index is its token id.
        normalisation: what was done to the text that the model learnt from.
        rare: what became of its rare characters.
    """

    name: str
    sha256: str
    model: CharLSTM
    vocabulary: Vocabulary
    normalisation: Normalisation
    rare: Rare = NOTHING_RARE


def read_source(path: Path) -> Source:
    """Read the weights of a run folder, of a model file, or of a model that has a name.

    Raises:
        RunError: there is nothing to begin from; says what would be.
        CharlmError: what the reader of such a file raises.
    """
    if not path.exists() and not path.suffix:
        for entry in entry_points(group=NAMED):
            path = entry.load()(path)
    if path.is_dir():
        return _read_run(path)
    with os_errors_as(RunError, f"can't read {path}"):
        path.stat()
    if path.suffix in KERAS:
        raise RunError(
            f"{path}: a Keras model: make a run folder of it first, with charlm-import {path} "
            "--corpus TEXT, and begin from that"
        )
    return _reader(path)(path)


def _read_run(folder: Path) -> Source:
    run = run_folder.load_run(folder)
    weights = folder / run_folder.WEIGHTS
    with os_errors_as(RunError, f"can't read {weights}"), weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Source(
        folder.resolve().name, digest, run.model, run.vocabulary, run.normalisation, run.rare
    )


def _reader(path: Path) -> Callable[[Path], Source]:
    for entry in entry_points(group=GROUP, name=path.suffix.removeprefix(".")):
        reader: Callable[[Path], Source] = entry.load()
        return reader
    if path.suffix == ".onnx":  # the code is there, but not the list of what it offers
        raise RunError(f"{path}: to read it, charlm must be installed: pip install -e . does it")
    raise RunError(f"{path}: to begin from, name a run folder or a .onnx file of charlm-export")
