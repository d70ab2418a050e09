"""The run folder of an imported model: what training would have left, but for what nobody knows."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from charlm.data.system.errors import RunError
from charlm.data.system.files import os_errors_as, write_set
from charlm.data.system.package import version
from charlm.data.text.corpus import Corpus, split
from charlm.data.text.normalise import Normalisation
from charlm.data.text.vocabulary import Vocabulary
from charlm.train import report as report_files
from charlm.train.config import as_dict
from charlm.train.keras.imported_card import render
from charlm.train.keras.keras_file import KerasModel
from charlm.train.loop.evaluate import bits_per_character, windowed_bits
from charlm.train.model import CharLSTM
from charlm.train.runs import checkpoint, run_folder

MEASURED = 200_000  # characters of each part at the most: a few seconds
MEASURED_BY_WINDOWS = 4_096  # each costs a whole window of steps
MAX_MEASURED_WINDOW = 1_000


@dataclass(frozen=True)
class Figures:
    """Bits per character of a model on its corpus, each on the beginning of a part.

    Attributes:
        validation: of the last 5 % but 5 %, state carried; None where that is too short.
        test: of the last 5 %, state carried.
        test_characters: how many of them were read.
        windowed: of the last 5 %, each character from a window that starts from a zero state.
        windowed_characters: how many of them were predicted.
    """

    validation: float | None
    test: float | None
    test_characters: int
    windowed: float | None
    windowed_characters: int


@dataclass(frozen=True)
class ImportedRun:
    """All that the folder of an imported model tells.

    Attributes:
        counts: occurrences of each character in the whole corpus; None without one.
        file: the Keras file.
    """

    model: CharLSTM
    vocabulary: Vocabulary
    normalisation: Normalisation
    counts: npt.NDArray[Any] | None
    keras: KerasModel
    file: Path
    corpus: Corpus | None
    corpus_files: tuple[Path, ...]
    encoding: str
    figures: Figures | None


def measure(model: CharLSTM, ids: npt.NDArray[Any], window: int | None) -> Figures:
    """How well a model reads the end of its corpus, on a bounded part of it.

    Args:
        model: in evaluation mode.
        ids: of the whole corpus.
        window: that the model was trained on, if it was.
    """
    parts = split(ids)
    carried = [
        bits_per_character(model, part) if len(part) > 1 else None
        for part in (parts.validation[:MEASURED], parts.test[:MEASURED])
    ]
    windowed, predicted = None, 0
    if window is not None and window <= MAX_MEASURED_WINDOW:
        part = parts.test[: window + MEASURED_BY_WINDOWS]
        if len(part) > window:
            windowed, predicted = windowed_bits(model, part, window), len(part) - window
    read = min(len(parts.test), MEASURED)
    return Figures(carried[0], carried[1], read, windowed, predicted)


def write(folder: Path, run: ImportedRun) -> None:
    """Write the files of an imported model into an existing folder, in place of a run there.

    Raises:
        RunError: the folder can't be written, or the disk is full.
    """
    config = describe(run)
    text = json.dumps(config, indent=1, ensure_ascii=False) + "\n"
    contents = {
        run_folder.CONFIG: text.encode(),
        run_folder.WEIGHTS: save(dict(run.model.state_dict())),
        run_folder.CARD: render(folder.resolve().name, config).encode(),
    }
    older = (run_folder.METRICS, *report_files.ALL)
    with os_errors_as(RunError, f"can't write into {folder}"):
        write_set(
            {folder / name: content for name, content in contents.items()},
            superseded=[folder / name for name in older],
        )
        # The last of an overwritten run: as long as it stands, all of that run can be had again.
        (folder / checkpoint.FILE).unlink(missing_ok=True)


def describe(run: ImportedRun) -> dict[str, Any]:
    """The content of `config.json`, with the keys of a trained run where they mean something."""
    window = run.keras.architecture.window
    counts = np.ones(len(run.vocabulary), int) if run.counts is None else run.counts
    figures = asdict(run.figures) if run.figures else {}
    return {
        "format": run_folder.FORMAT,
        "model": as_dict(run.model.config),
        "normalisation": run.normalisation.as_dict(),
        "vocabulary": list(run.vocabulary.characters),
        "initial": counts.tolist(),
        "training": {
            # A known window is the notebook's recipe: `charlm-gen` then hints at --window.
            "recipe": "keras" if window is None else "notebook",
            "seq_len": window,
            "source": "keras",
            "keras_version": run.keras.version,
            "file": run.file.name,
            "file_sha256": _sha256(run.file),
            "initial": "uniform" if run.counts is None else "corpus",
        },
        "corpus": {
            "files": [path.name for path in run.corpus_files],
            "encoding": run.encoding,
            "sha256": run.corpus.sha256 if run.corpus else None,
        },
        "results": {
            "finished": True,
            "held_out": False,  # nobody knows what the model was trained on
            "validation_bits_per_character": _rounded(figures.get("validation")),
            "test_bits_per_character": _rounded(figures.get("test")),
            "test_characters": figures.get("test_characters", 0),
            "windowed_bits_per_character": _rounded(figures.get("windowed")),
            "windowed_characters": figures.get("windowed_characters", 0),
        },
        "versions": {
            "charlm": version(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }


def _rounded(bits: float | None) -> float | None:
    return None if bits is None else round(bits, 5)


def _sha256(path: Path) -> str:
    with os_errors_as(RunError, f"can't read {path}"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
