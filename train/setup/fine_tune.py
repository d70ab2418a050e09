"""Beginning from trained weights on a new corpus: which characters, which sizes, which weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlm.data.system.errors import RunError, SettingsError
from charlm.data.text.corpus import Corpus
from charlm.data.text.rare import RareSettings
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.evaluate import bits_per_character
from charlm.train.model import CharLSTM
from charlm.train.runs.checkpoint import Begun, Setup, Tensors
from charlm.train.setup.remap import places, re_encode
from charlm.train.setup.source import Source, read_source

MEASURED = 200_000  # characters at the most: a few seconds


def inherited(wanted: RareSettings, source: Source) -> RareSettings:
    """What becomes of rare characters: what was asked for, or else what the source does."""
    if wanted.rare is not None or source.rare.policy == "error":
        return wanted
    return replace(wanted, rare=source.rare.unknown)


def in_vocabulary(corpus: Corpus, vocabulary: Vocabulary, scratch: Path | None = None) -> Corpus:
    """The corpus with its ids by a vocabulary that has more characters than it.

    Args:
        corpus: as it was read.
        vocabulary: has all its characters.
        scratch: where many ids are kept; None to keep them in memory.
    """
    ids = re_encode(corpus.ids, corpus.vocabulary, vocabulary, scratch)
    return replace(corpus, ids=ids, vocabulary=vocabulary)


def extended_vocabulary(source: Source, corpus: Corpus) -> Vocabulary:
    """All that the source knows, and what is new in the corpus.

    What the corpus lacks stays: a model that is shown a new text should not forget its letters.
    """
    return Vocabulary((*source.vocabulary.characters, *corpus.vocabulary.characters))


def model_config(source: Source, characters: int, options: dict[str, Any]) -> ModelConfig:
    """The source's sizes, for so many characters.

    Raises:
        SettingsError: an option asks for other sizes.
    """
    own = source.model.config
    for name in ("hidden", "layers"):
        asked = options.get(name)
        if asked not in (None, getattr(own, name)):
            raise SettingsError(
                f"--{name} {asked} contradicts --init-from: {source.name} has {own.layers} x "
                f"LSTM({own.hidden}); leave it out"
            )
    dropout = {
        name: options[name]
        for name in ("dropout", "output_dropout")
        if options.get(name) is not None
    }
    return replace(own, vocabulary=characters, **dropout)


def gentle(config: TrainingConfig, said: Mapping[str, Any]) -> TrainingConfig:
    """A new run's settings for weights that have learnt: a quarter of the rates that were not said.

    Of 128,000 characters in another style, four passes: 1.795 bits per character on the test part;
    with the whole rates 1.810, with a sixteenth 1.827.
    """
    lr = config.lr if said.get("lr") is not None else config.lr / 4
    muon_lr = config.muon_lr if said.get("muon_lr") is not None else config.muon_lr / 4
    return replace(config, lr=lr, muon_lr=muon_lr)


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
    known = places(source.vocabulary, Vocabulary(setup.vocabulary))
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


def recorded(source: Source) -> Begun:
    """What a run keeps of where it began."""
    return {"name": source.name, "sha256": source.sha256}


def described(setup: Setup, weights: Tensors, validation: npt.NDArray[Any]) -> str:
    """One line for people: where the run begins, and how good that is before it learns."""
    assert setup.initialised_from is not None
    begun = f"begins with the weights of {setup.initialised_from['name']}"
    part = validation[:MEASURED]
    if len(part) < 2:
        return begun
    model = CharLSTM(setup.model)
    model.load_state_dict(weights)
    return f"{begun}: validation {bits_per_character(model, part):.3f} bits/char before training"


def check_same_source(setup: Setup, path: Path, folder: Path) -> None:
    """A run that is resumed may be told only what it was begun from.

    Raises:
        RunError: it was begun from something else.
    """
    begun = setup.initialised_from
    if begun is None:
        raise RunError(f"{folder} was not begun with --init-from: leave that out to go on with it")
    asked = read_source(path)
    if asked.sha256 != begun["sha256"]:
        raise RunError(
            f"{folder} was begun from other weights than those of {path} ({begun['name']}, sha256 "
            f"{begun['sha256'][:12]}…, not {asked.sha256[:12]}…): leave --init-from out to go on"
        )


def check_apart(path: Path, folder: Path) -> None:
    """A run may not be thrown away by the one that begins from it.

    Raises:
        RunError: both are one folder.
    """
    if path.resolve() == folder.resolve():
        raise RunError(
            f"{folder} is where --init-from takes the weights from: name another folder with --out"
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
