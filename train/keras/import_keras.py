"""From a trained Keras model to a run folder, proven equal to Keras itself on windows.

The folder holds what training would have left, but for what nobody knows.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from charlm.data.system.errors import ModelFileError, RunError, SettingsError
from charlm.data.system.files import os_errors_as, write_set
from charlm.data.text.corpus import Corpus, read_corpus, split
from charlm.data.text.ids import re_encode
from charlm.data.text.normalise import NOTEBOOK, Normalisation
from charlm.train import report
from charlm.train.config import WINDOW, ModelConfig, as_dict
from charlm.train.keras.import_vocabulary import (
    EVERY,
    ModelCharacters,
    check_covers,
    of_corpus,
    of_list,
)
from charlm.train.keras.keras_file import Array, KerasModel, read_keras
from charlm.train.loop.evaluate import bits_per_character, windowed_bits
from charlm.train.model import CharLSTM
from charlm.train.runs import card, checkpoint, run_folder
from charlm.train.runs.lock import FolderLock, check_folder, open_folder

Ids = npt.NDArray[Any]
# Of the proof: relative to the logits' largest magnitude, or to 1, since both round in float32.
TOLERANCE = 1e-4
WINDOWS = 64
STEPS = 1 << 12  # of all windows together: there are fewer of long ones
VALUES = 1 << 24  # of their one-hot characters, 64 MiB: windows of a large vocabulary are shorter
SEED = 0
MEASURED = 200_000  # characters of each part at the most: a few seconds
MEASURED_BY_WINDOWS = 4_096  # each costs a whole window of steps
MAX_MEASURED_WINDOW = 1_000


@dataclass(frozen=True)
class ImportRequest:
    """What a user asked for; None wherever nothing was said."""

    model: Path  # the Keras file
    corpus: tuple[
        Path, ...
    ] = ()  # what it was trained on; may be empty where `vocabulary` is given
    vocabulary: Path | None = None  # a JSON list of characters, index = the model's token id
    out: Path | None = None  # run folder; None for `runs/<name of the model>`
    overwrite: bool = False  # throw away the run in `out` if there is one
    encoding: str = "utf-8"
    case: str | None = None
    newlines: str | None = None
    nfc: bool | None = None

    @property
    def normalisation(self) -> Normalisation:
        """The notebook's, where nothing else was said."""
        return NOTEBOOK.but(case=self.case, newlines=self.newlines, nfc=self.nfc)


@dataclass(frozen=True)
class ImportedModel:
    """What an import left."""

    folder: Path
    keras: KerasModel
    error: float  # the largest relative difference of a logit from Keras's
    results: dict[str, Any]  # how well the model reads its corpus, as `config.json` has it


def import_keras(request: ImportRequest) -> ImportedModel:
    """Read a Keras model, prove the Torch model made of it, and write its run folder.

    Raises:
        ModelFileError: no Keras model, one that charlm does not have, or the proof failed.
        CorpusError, VocabularyError: the corpus or the list of characters is not the model's.
        SettingsError: neither of them was given.
        RunError: the folder can't be written, or holds something.
    """
    if not request.corpus and request.vocabulary is None:
        raise SettingsError(
            "which character is which? give the text that the model was trained on with `corpus`, "
            "or the list of its characters with `vocabulary`"
        )
    folder = request.out or Path("runs") / request.model.stem
    check_folder(folder, request.overwrite)  # before a minute of reading, not after
    keras = read_keras(request.model)
    window = keras.architecture.window
    characters, corpus, ids = _characters(request, keras.architecture.vocabulary)
    size = len(characters.vocabulary)
    model = to_torch(keras.weights(), characters.order)
    windows = _windows(ids, window or WINDOW, size)
    error = prove_equal(keras, model, windows, characters.order)
    config: dict[str, Any] = {
        "format": run_folder.FORMAT,
        "model": as_dict(model.config),
        "normalisation": request.normalisation.as_dict(),
        "vocabulary": list(characters.vocabulary.characters),
        "initial": [1] * size if ids is None else np.bincount(ids, minlength=size).tolist(),
        "training": {
            # A known window is the notebook's recipe: `charlm-gen` then hints at --window.
            "recipe": "keras" if window is None else "notebook",
            "seq_len": window,
            "source": "keras",
            "keras_version": keras.version,
            "file": request.model.name,
            "file_sha256": _sha256(request.model),
            "initial": "uniform" if ids is None else "corpus",
        },
        "corpus": {
            "files": [path.name for path in request.corpus],
            "encoding": request.encoding,
            "sha256": corpus.sha256 if corpus else None,
        },
        "results": measure(model, ids, window),
        "versions": checkpoint.current_versions(),
    }
    with FolderLock() as lock:
        open_folder(folder, request.overwrite, lock)
        _write(folder, model, config)
    return ImportedModel(folder, keras, error, config["results"])


def to_torch(weights: Sequence[Array], order: npt.NDArray[np.int64]) -> CharLSTM:
    """The Torch model of a Keras model's arrays.

    Keras's gates i, f, c, o stand in the order of Torch's i, f, g, o: kernels are transposed and
    no block moves. Its one bias becomes `bias_ih`; its softmax is left out, since charlm's models
    give logits.

    Args:
        weights: as Keras's `get_weights` has them (see `KerasModel.weights`).
        order: Keras's token id of each of ours, shape [vocabulary].
    """
    *lstm, head, head_bias = weights
    hidden, vocabulary = head.shape
    model = CharLSTM(ModelConfig(vocabulary, hidden, len(lstm) // 3))
    state = {"head.weight": head.T[order], "head.bias": head_bias[order]}
    for number in range(model.config.layers):
        kernel, recurrent, bias = lstm[3 * number : 3 * number + 3]
        state[f"lstm.weight_ih_l{number}"] = (kernel if number else kernel[order]).T
        state[f"lstm.weight_hh_l{number}"] = recurrent.T
        state[f"lstm.bias_ih_l{number}"] = bias
        state[f"lstm.bias_hh_l{number}"] = np.zeros_like(bias)
    model.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in state.items()})
    return model.eval()


def prove_equal(
    keras: KerasModel, ours: CharLSTM, ids: npt.NDArray[np.int64], order: npt.NDArray[np.int64]
) -> float:
    """Run both over windows of our token ids, shape [windows, time], and compare.

    Returns:
        The largest difference of a logit, relative to max(1, the largest magnitude).

    Raises:
        ModelFileError: they differ by more than `TOLERANCE`.
    """
    wanted = keras.logits(order[ids])[:, order]
    with torch.no_grad():
        hidden, _ = ours(torch.from_numpy(ids.T.copy()), ours.zero_state(len(ids)))
        found = ours.head(hidden[-1]).numpy()
    error = float(np.abs(found - wanted).max()) / max(1.0, float(np.abs(wanted).max()))
    if not error <= TOLERANCE:  # NaN too
        raise ModelFileError(
            f"the imported model differs from Keras by {error:.1e} of its largest logit "
            f"({TOLERANCE:.0e} is allowed), so nothing was written: please report it"
        )
    return error


def measure(model: CharLSTM, ids: Ids | None, window: int | None) -> dict[str, Any]:
    """The `results` of `config.json`: how well a model reads its corpus, if there is one.

    Each figure is of the beginning of a part: of the last 5 % (test) and the 5 % before it, with
    the state carried, and of the last 5 % by windows of the length that the model was trained on.
    """
    found: dict[str, Any] = {
        "finished": True,
        "held_out": False,  # nobody knows what the model was trained on
        "validation_bits_per_character": None,
        "test_bits_per_character": None,
        "test_characters": 0,
        "windowed_bits_per_character": None,
        "windowed_characters": 0,
    }
    if ids is None:
        return found
    parts = split(ids)
    for name, part in (("validation", parts.validation), ("test", parts.test)):
        if len(part) > 1:
            bits = bits_per_character(model, part[:MEASURED])
            found[f"{name}_bits_per_character"] = round(bits, 5)
    found["test_characters"] = min(len(parts.test), MEASURED)
    if window is not None and window <= MAX_MEASURED_WINDOW and len(parts.test) > window:
        part = parts.test[: window + MEASURED_BY_WINDOWS]
        found["windowed_bits_per_character"] = round(windowed_bits(model, part, window), 5)
        found["windowed_characters"] = len(part) - window
    return found


def _write(folder: Path, model: CharLSTM, config: dict[str, Any]) -> None:
    """Write an imported model's files into an existing folder, in place of a run there."""
    text = json.dumps(config, indent=1, ensure_ascii=False) + "\n"
    contents = {
        run_folder.CONFIG: text.encode(),
        run_folder.WEIGHTS: save(dict(model.state_dict())),
        run_folder.CARD: card.render(folder.resolve().name, config).encode(),
    }
    older = (run_folder.METRICS, *report.ALL)
    with os_errors_as(RunError, f"can't write into {folder}"):
        write_set(
            {folder / name: content for name, content in contents.items()},
            superseded=[folder / name for name in older],
        )
        # The last of an overwritten run: as long as it stands, all of that run can be had again.
        (folder / checkpoint.FILE).unlink(missing_ok=True)


def _characters(
    request: ImportRequest, outputs: int
) -> tuple[ModelCharacters, Corpus | None, Ids | None]:
    """The characters, and the corpus with its ids by them, if there is one."""
    characters = None
    if request.vocabulary is not None:  # first: it is quickly read
        characters = of_list(request.vocabulary, outputs, request.normalisation)
    if not request.corpus:
        assert characters is not None
        return characters, None, None
    corpus = read_corpus(request.corpus, request.normalisation, request.encoding, EVERY)
    if characters is None:
        characters = of_corpus(corpus, outputs, request.corpus, request.encoding)
    check_covers(characters, corpus, request.corpus[0])
    return characters, corpus, re_encode(corpus.ids, corpus.vocabulary, characters.vocabulary)


def _windows(ids: Ids | None, length: int, characters: int) -> npt.NDArray[np.int64]:
    """Windows of the corpus, or of characters drawn evenly: int64 of shape [windows, length]."""
    generator = np.random.default_rng(SEED)
    steps = min(STEPS, VALUES // characters)
    length = min(length, steps)
    count = min(WINDOWS, steps // length)
    if ids is None or len(ids) <= length:
        return generator.integers(characters, size=(count, length))
    starts = generator.integers(len(ids) - length, size=count)
    return np.asarray(ids[starts[:, None] + np.arange(length)], dtype=np.int64)


def _sha256(path: Path) -> str:
    with os_errors_as(RunError, f"can't read {path}"), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
