"""From a trained Keras model to a run folder, proven equal to Keras itself on windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.data.text.corpus import Corpus, read_corpus
from charlm.data.text.normalise import NOTEBOOK, Normalisation
from charlm.train.config import WINDOW, ModelConfig
from charlm.train.keras import imported_run
from charlm.train.keras.import_vocabulary import (
    EVERY,
    ModelCharacters,
    TextFiles,
    check_covers,
    of_corpus,
    of_list,
)
from charlm.train.keras.imported_run import Figures, ImportedRun, measure
from charlm.train.keras.keras_file import Array, KerasModel, read_keras
from charlm.train.model import CharLSTM
from charlm.train.runs.lock import FolderLock, check_folder, open_folder
from charlm.train.setup.remap import re_encode

# Of the proof: relative to the logits' largest magnitude, or to 1, since both round in float32.
TOLERANCE = 1e-4
WINDOWS = 64
STEPS = 1 << 12  # of all windows together: there are fewer of long ones
VALUES = 1 << 24  # of their one-hot characters, 64 MiB: windows of a large vocabulary are shorter
SEED = 0


@dataclass(frozen=True)
class ImportRequest:
    """What a user asked for; None wherever nothing was said.

    Attributes:
        model: the Keras file.
        corpus: the text that it was trained on; may be empty where `vocabulary` is given.
        vocabulary: a JSON list of characters, index = the model's token id.
        out: run folder; None for `runs/<name of the model>`.
        overwrite: throw away the run in `out` if there is one.
    """

    model: Path
    corpus: tuple[Path, ...] = ()
    vocabulary: Path | None = None
    out: Path | None = None
    overwrite: bool = False
    encoding: str = "utf-8"
    case: str | None = None
    newlines: str | None = None
    nfc: bool | None = None

    @property
    def normalisation(self) -> Normalisation:
        """The notebook's, where nothing else was said."""
        said = {"case": self.case, "newlines": self.newlines, "nfc": self.nfc}
        chosen = {key: value for key, value in said.items() if value is not None}
        return Normalisation.from_dict(NOTEBOOK.as_dict() | chosen)


@dataclass(frozen=True)
class ImportedModel:
    """What an import left.

    Attributes:
        error: the largest relative difference of a logit from Keras's.
        figures: how well the model reads its corpus; None without one.
    """

    folder: Path
    keras: KerasModel
    error: float
    figures: Figures | None


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
    characters, corpus, ids = _characters(request, keras.architecture.vocabulary)
    model = to_torch(keras.weights(), characters.order)
    windows = _windows(ids, keras.architecture.window or WINDOW, len(characters.vocabulary))
    error = prove_equal(keras, model, windows, characters.order)
    figures = None if ids is None else measure(model, ids, keras.architecture.window)
    run = ImportedRun(
        model=model,
        vocabulary=characters.vocabulary,
        normalisation=request.normalisation,
        counts=None if ids is None else np.bincount(ids, minlength=len(characters.vocabulary)),
        keras=keras,
        file=request.model,
        corpus=corpus,
        corpus_files=request.corpus,
        encoding=request.encoding,
        figures=figures,
    )
    with FolderLock() as lock:
        open_folder(folder, request.overwrite, lock)
        imported_run.write(folder, run)
    return ImportedModel(folder, keras, error, figures)


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
    """Run both over windows and compare.

    Args:
        keras: the model as Keras computes it.
        ours: the Torch model made of it.
        ids: windows of our token ids, shape [windows, time].
        order: Keras's token id of each of ours, shape [vocabulary].

    Returns:
        The largest difference of a logit, relative to max(1, the largest magnitude).

    Raises:
        ModelFileError: they differ by more than `TOLERANCE`.
    """
    wanted = keras.logits(order[ids])[:, order]
    tokens = torch.from_numpy(ids.T.copy())
    with torch.no_grad():
        hidden, _ = ours(tokens, ours.zero_state(len(ids)))
        found = ours.head(hidden[-1]).numpy()
    scale = max(1.0, float(np.abs(wanted).max()))
    error = float(np.abs(found - wanted).max()) / scale
    if not error <= TOLERANCE:  # NaN too
        raise ModelFileError(
            f"the imported model differs from Keras by {error:.1e} of its largest logit "
            f"({TOLERANCE:.0e} is allowed), so nothing was written: please report it"
        )
    return error


def _characters(
    request: ImportRequest, outputs: int
) -> tuple[ModelCharacters, Corpus | None, npt.NDArray[Any] | None]:
    """The characters, and the corpus with its ids by them, if there is one."""
    texts = TextFiles(request.corpus, request.encoding)
    characters = None
    if request.vocabulary is not None:  # first: it is quickly read
        characters = of_list(request.vocabulary, outputs, request.normalisation)
    if not request.corpus:
        assert characters is not None
        return characters, None, None
    corpus = read_corpus(request.corpus, request.normalisation, request.encoding, EVERY)
    if characters is None:
        characters = of_corpus(corpus, outputs, texts)
    check_covers(characters, corpus, request.corpus[0])
    return characters, corpus, re_encode(corpus.ids, corpus.vocabulary, characters.vocabulary)


def _windows(ids: npt.NDArray[Any] | None, length: int, characters: int) -> npt.NDArray[np.int64]:
    """Windows of the corpus, or of characters drawn evenly: int64 of shape [windows, length]."""
    generator = np.random.default_rng(SEED)
    steps = min(STEPS, VALUES // characters)
    length = min(length, steps)
    count = min(WINDOWS, steps // length)
    if ids is None or len(ids) <= length:
        return generator.integers(characters, size=(count, length))
    starts = generator.integers(len(ids) - length, size=count)
    return np.asarray(ids[starts[:, None] + np.arange(length)], dtype=np.int64)
