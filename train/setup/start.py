"""Beginning a run: what a user asked for, and what text, defaults and run folder make of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from charlm.data.system.errors import RunError, SettingsError
from charlm.data.system.memory import memory_bytes
from charlm.data.text.corpus import SAMPLE, Corpus, Splits, read_corpus
from charlm.data.text.ids import count
from charlm.data.text.normalise import Normalisation
from charlm.data.text.rare import NOTHING_SAID, RareSettings
from charlm.train.config import (
    ADAM_LR,
    NOTEBOOK_DEFAULTS,
    NOTEBOOK_HAS,
    WINDOW,
    ModelConfig,
    Options,
    TrainingConfig,
    check_choice,
)
from charlm.train.loop.batches import (
    check_length,
    check_shares,
    learnt_percent,
    make_batches,
    split_text,
)
from charlm.train.runs import checkpoint, run_folder
from charlm.train.runs.checkpoint import Progress, Setup, Tensors, current_versions
from charlm.train.runs.lock import FolderLock, check_folder, nearest_folder, open_folder
from charlm.train.setup import defaults


@dataclass(frozen=True)
class RunRequest:
    """What a user asked for; None wherever nothing was said."""

    # Corpus files; empty for the corpus that ships, or that of the run resumed.
    texts: tuple[Path, ...] = ()
    out: Path | None = None  # run folder; None for `runs/<name of the first text>`
    resume: bool = False  # go on with the run in `out` if there is one
    overwrite: bool = False  # throw away the run in `out` if there is one
    # Go on with a run though text, settings or versions differ, without asking.
    accept_changes: bool = False
    init_from: Path | None = None  # a run folder or model file whose weights the run begins with
    encoding: str | None = None
    case: str | None = None
    newlines: str | None = None
    nfc: bool | None = None
    rare: RareSettings = NOTHING_SAID  # which characters are rare, and what becomes of them
    options: Options = field(default_factory=Options)  # the settings that were said
    processes: int = 1  # how many train together
    # Is taken on the run folder; None for a caller who knows to be alone.
    lock: FolderLock | None = None

    def folder(self) -> Path:
        """The run folder that is meant.

        Raises:
            RunError: none is named, and there is no run to resume.
        """
        if self.out is not None:
            return self.out
        if self.resume and not self.texts:
            return run_folder.newest(holding=checkpoint.FILE)
        return Path("runs") / (self.texts or (SAMPLE,))[0].stem

    def normalisation(self, base: Normalisation) -> Normalisation:
        """What is done to the text: what was said, and for the rest `base`."""
        return base.but(case=self.case, newlines=self.newlines, nfc=self.nfc)

    def sizes(self) -> dict[str, Any]:
        """The fields of `ModelConfig` that were said."""
        return _fields_of(ModelConfig, self.options)


@dataclass(frozen=True)
class Started:
    """A run that is ready to train: its folder exists and can be written."""

    folder: Path
    setup: Setup
    splits: Splits
    progress: Progress | None  # None at the very beginning
    weights: Tensors | None = None  # of the very beginning, where they are not drawn


def start(request: RunRequest) -> Started:
    """Read the text, find the settings, and make or open the run folder.

    Raises:
        SettingsError: an option out of range.
        CorpusError: a text that can't be learnt from.
        RunError: the folder holds a run already, another one than asked for, or can't be used.
    """
    if request.resume and request.overwrite:
        raise SettingsError("`resume` and `overwrite` contradict each other: give one of them")
    folder = request.folder()
    if request.resume and checkpoint.exists(folder):
        from charlm.train.runs.resume import resume

        if request.lock is not None:
            request.lock.take(folder)
        return resume(folder, request)
    check_folder(folder, request.overwrite)
    if request.resume and not request.texts:
        raise RunError(
            f"nothing to resume: {folder} holds no training state; "
            "name the run with `out`, or the text to start with"
        )
    return _begin(folder, request)


def _begin(folder: Path, request: RunRequest) -> Started:
    source = None
    if request.init_from is not None:
        from charlm.train.setup import fine_tune

        source = fine_tune.read(request.init_from, folder)
        request = fine_tune.inherited(request, source)
    config = training_config(request.options, TrainingConfig())
    scratch, texts = nearest_folder(folder), request.texts or (SAMPLE,)
    corpus = read_corpus(
        texts,
        request.normalisation(Normalisation()),
        request.encoding or "utf-8",
        request.rare,
        learnt_percent(config.final),
        keep=source.vocabulary.characters if source else (),
        scratch=scratch,
    )
    most = defaults.MOST
    if source is not None:
        config = fine_tune.gentle(config, request.options)
        corpus = fine_tune.extended(corpus, source, scratch)
        most = defaults.FINE_TUNING
    check_length(texts, len(corpus.ids))
    splits = split_text(corpus.ids, config.final)
    check_shares(config, request.processes)
    make_batches(config, splits.train)  # too short a text must not cost the run in the folder
    setup = _setup(request, corpus, splits, config, most)
    weights = None
    if source is not None:
        setup = replace(setup, initialised_from={"name": source.name, "sha256": source.sha256})
        weights = fine_tune.initial_weights(source, setup)
    open_folder(folder, request.overwrite, request.lock)
    return Started(folder, setup, splits, None, weights)


def _setup(
    request: RunRequest, corpus: Corpus, splits: Splits, config: TrainingConfig, most: int
) -> Setup:
    """What is fixed before the first step, of so many passes at most where none were said."""
    model = ModelConfig(len(corpus.vocabulary), **request.sizes())
    defaults.check_fits(model, memory_bytes())
    chosen = request.options.keys() >= {"dropout", "output_dropout"}
    if config.minutes is not None and config.recipe == "stateful" and not chosen:
        from charlm.train.setup.budget import guess_passes

        passes = guess_passes(model, config, splits, request.processes)
        config = replace(config, passes=passes)  # dropout goes by them
    model, config = defaults.fill_in(
        model, config, len(splits.train), said=request.options, most=most
    )
    return Setup(
        model=model,
        training=config,
        normalisation=corpus.normalisation,
        encoding=request.encoding or "utf-8",
        files=tuple(str(path.resolve()) for path in request.texts or (SAMPLE,)),
        sha256=corpus.sha256,
        vocabulary=corpus.vocabulary.characters,
        initial=tuple(count(splits.train, len(corpus.vocabulary)).tolist()),
        rare=corpus.rare,
        versions=current_versions(),
    )


def training_config(
    options: Mapping[str, Any], base: TrainingConfig, *, begun: bool = False
) -> TrainingConfig:
    """The settings that `options` make of `base`.

    Args:
        options: what was said.
        base: what holds where nothing was said.
        begun: `base` is a run's, so that no other default may come in.

    Raises:
        SettingsError: they contradict each other, or the machine.
    """
    said = _fields_of(TrainingConfig, options)
    wanted = said.pop("device", "auto")
    if wanted != "auto" or not begun:
        said["device"] = _device(wanted)
    fallback = _of_a_run(said, base) if begun else _of_a_new_run(said)
    config = replace(base, **(fallback | said))
    if config.recipe == "notebook":
        _check_notebook(said)
    elif config.optimiser == "adam" and "muon_lr" in said:
        raise SettingsError("`optimiser` adam has no `muon_lr`: leave it out; Adam's rate is `lr`")
    return config


def why_no_cuda() -> str:
    """The reason, where `torch.cuda.is_available()` says no."""
    return "Torch sees no NVIDIA GPU" if torch.version.cuda else "this Torch is a CPU build"


def _fields_of(
    config: type[ModelConfig | TrainingConfig], options: Mapping[str, Any]
) -> dict[str, Any]:
    names = {each.name for each in fields(config)}
    return {name: value for name, value in options.items() if name in names}


def _of_a_new_run(said: dict[str, Any]) -> dict[str, Any]:
    """Defaults that go by what was said."""
    fallback: dict[str, Any] = {}
    if said.get("recipe") == "notebook":
        fallback |= NOTEBOOK_DEFAULTS
    elif said.get("optimiser") == "adam":
        fallback["lr"] = ADAM_LR
    if "minutes" in said:
        fallback["epochs"] = None
    return fallback


def _of_a_run(said: dict[str, Any], base: TrainingConfig) -> dict[str, Any]:
    """Which of a run's settings go by what is said now."""
    fallback: dict[str, Any] = {}
    if "epochs" in said and "minutes" not in said and base.epochs is None:
        fallback["minutes"] = None  # the one limit takes the other's place
    elif "minutes" in said and "epochs" not in said and base.minutes is None:
        fallback["epochs"] = None
    if said.get("device") == "cpu":  # what is for GPUs only goes with the GPU
        fallback |= {"autocast": "none", "tf32": False}
        if base.step == "graph":
            fallback["step"] = "eager"
    return fallback


def _check_notebook(said: dict[str, Any]) -> None:
    """Whether nothing was said that the notebook's recipe does not have."""
    if said.get("seq_len", WINDOW) != WINDOW:
        raise SettingsError(f"`recipe` notebook reads windows of {WINDOW}: leave `seq_len` out")
    for name, fixed in NOTEBOOK_HAS.items():
        if name in said and said[name] != fixed:
            raise SettingsError(
                "`recipe` notebook has Adam, and limits neither gradients nor weights: "
                f"leave `{name}` out"
            )


def _device(wanted: str) -> str:
    check_choice("device", wanted)
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"`device` cuda: {why_no_cuda()}; use `device` cpu")
    return wanted
