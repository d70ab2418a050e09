"""Beginning a run, or going on with one: which folder, which settings, which text."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from charlm.data.corpus import SAMPLE, Corpus, Splits, read_corpus
from charlm.data.errors import CorpusError, RunError, SettingsError
from charlm.data.files import remove_leftovers
from charlm.data.normalise import Normalisation
from charlm.data.rare import NOTHING_SAID, Wanted
from charlm.data.vocabulary import Vocabulary
from charlm.train import checkpoint, fine_tune, run_folder, scale
from charlm.train.batches import check_shares, make_batches
from charlm.train.checkpoint import Progress, Setup, Tensors
from charlm.train.config import (
    ADAM_LR,
    DEVICES,
    NOTEBOOK_DEFAULTS,
    WINDOW,
    ModelConfig,
    TrainingConfig,
    difference,
)
from charlm.train.make_folder import make_folder, refuse_imported
from charlm.train.parts import learnt_percent, parts
from charlm.train.source import Source, read_source

MINIMUM_CHARACTERS = 1000  # less leaves fewer than fifty characters to be judged by


@dataclass(frozen=True)
class Request:
    """What a user asked for; None wherever nothing was said.

    Attributes:
        texts: corpus files; empty for the corpus that ships, or that of the run resumed.
        out: run folder; None for `runs/<name of the first text>`.
        resume: go on with the run in `out` if there is one.
        overwrite: throw away the run in `out` if there is one.
        rare: which characters are rare, and what becomes of them.
        init_from: a run folder or model file whose weights the run begins with.
        options: fields of `ModelConfig` and `TrainingConfig` by name.
        processes: how many train together.
    """

    texts: tuple[Path, ...] = ()
    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    init_from: Path | None = None
    encoding: str | None = None
    case: str | None = None
    newlines: str | None = None
    nfc: bool | None = None
    rare: Wanted = NOTHING_SAID
    options: dict[str, Any] | None = None
    processes: int = 1


@dataclass(frozen=True)
class Started:
    """A run that is ready to train: its folder exists and can be written."""

    folder: Path
    setup: Setup
    splits: Splits
    progress: Progress | None  # None at the very beginning
    weights: Tensors | None = None  # of the very beginning, where they are not drawn


def start(request: Request) -> Started:
    """Read the text, settle the settings, and make or open the run folder.

    Raises:
        SettingsError: an option out of range.
        CorpusError: a text that can't be learnt from.
        RunError: the folder holds a run already, another one than asked for, or can't be used.
    """
    if request.resume and request.overwrite:
        raise SettingsError("--resume and --overwrite contradict each other: give one of them")
    folder = _folder(request)
    if checkpoint.exists(folder):
        if request.resume:
            return _resume(folder, request)
        if not request.overwrite:
            raise RunError(
                f"{folder} holds a run already: go on with it with --resume, "
                "throw it away with --overwrite, or name another folder with --out"
            )
    elif request.resume and not request.texts:
        refuse_imported(folder, overwrite=False)
        raise RunError(
            f"nothing to resume: {folder} holds no training state; "
            "name the run with --out, or the text to start with"
        )
    return _begin(folder, request)


def _begin(folder: Path, request: Request) -> Started:
    texts = request.texts or (SAMPLE,)
    source, wanted = None, request.rare
    if request.init_from is not None:
        fine_tune.check_apart(request.init_from, folder)
        source = read_source(request.init_from)
        wanted = fine_tune.inherited(wanted, source)
    normalisation = _normalisation(request, source.normalisation if source else Normalisation())
    config = training_config(request.options or {}, TrainingConfig())
    encoding = request.encoding or "utf-8"
    corpus = read_corpus(texts, normalisation, encoding, wanted, learnt_percent(config.final))
    if source is not None:
        corpus = fine_tune.in_vocabulary(corpus, fine_tune.extended_vocabulary(source, corpus))
    setup = _setup(corpus, texts, request, config, source)
    splits = parts(corpus.ids, config.final)
    check_shares(config, request.processes)
    make_batches(config, splits.train)  # too short a text must not cost the run in the folder
    weights = fine_tune.initial_weights(source, setup) if source else None
    make_folder(folder, request.overwrite)
    return Started(folder, setup, splits, None, weights)


def _resume(folder: Path, request: Request) -> Started:
    saved = checkpoint.Checkpoint.load(folder)
    setup = saved.setup
    config = training_config(request.options or {}, setup.training, begun=True)
    changed = difference(setup.training, config)
    others = _model_difference(setup, request), request.rare.difference(setup.rare)
    if changed := "; ".join(filter(None, (changed, *others))):
        raise RunError(f"{folder} was begun with {changed}: leave that out to go on with it")
    _check_still_possible(folder, setup, request)
    check_shares(setup.training, request.processes)
    if request.init_from is not None:
        fine_tune.check_same_source(setup, request.init_from, folder)
    texts = request.texts or tuple(Path(name) for name in setup.files)
    normalisation = _normalisation(request, setup.normalisation)
    if normalisation != setup.normalisation:
        raise RunError(
            f"{folder} was begun with {setup.normalisation}: leave --case, "
            "--newlines and --nfc out to go on with it"
        )
    again = Wanted.again(setup.rare)
    corpus = read_corpus(texts, normalisation, setup.encoding, again, learnt_percent(config.final))
    if corpus.sha256 != setup.sha256:
        raise RunError(
            f"{', '.join(map(str, texts))}: not the text that {folder} was begun with "
            f"(sha256 {corpus.sha256[:12]}…, not {setup.sha256[:12]}…); "
            "bring that text back, or train into another folder with --out"
        )
    corpus = fine_tune.in_vocabulary(corpus, Vocabulary(setup.vocabulary))
    remove_leftovers(folder)
    run_folder.write(folder, saved)
    return Started(folder, setup, parts(corpus.ids, setup.training.final), saved.progress)


def _check_still_possible(folder: Path, setup: Setup, request: Request) -> None:
    if request.encoding not in (None, setup.encoding):
        raise RunError(
            f"{folder} was begun with --encoding {setup.encoding}, not {request.encoding}: "
            "leave that out to go on with it"
        )
    if setup.training.device == "cuda" and not torch.cuda.is_available():
        raise RunError(f"{folder} was begun on CUDA, and {_why_no_cuda()}")
    gone = [name for name in setup.files if not Path(name).is_file()]
    if gone and not request.texts:
        raise RunError(
            f"{folder} was begun with {', '.join(gone)}, which is no longer there: name the text "
            f"where it is now, with charlm-train TEXT --resume --out {shlex.quote(str(folder))}"
        )


def training_config(
    options: dict[str, Any], base: TrainingConfig, *, begun: bool = False
) -> TrainingConfig:
    """The settings that `options` (None: not said) make of `base`.

    Args:
        options: fields by name; those of the model are passed over.
        base: what holds where nothing was said.
        begun: `base` is a run's, so that no other default may come in.
    """
    said = {
        name: value
        for name, value in options.items()
        if value is not None and name in TrainingConfig.__dataclass_fields__
    }
    wanted = said.pop("device", "auto")
    if wanted != "auto" or not begun:
        said["device"] = _device(wanted)
    defaults: dict[str, Any] = {}
    if not begun:
        if said.get("recipe") == "notebook":
            defaults |= NOTEBOOK_DEFAULTS
        elif said.get("optimiser") == "adam":
            defaults["lr"] = ADAM_LR
        if "minutes" in said:
            defaults["epochs"] = None
    config = replace(base, **(defaults | said))
    if not begun and config.recipe == "notebook" and config.seq_len != WINDOW:
        raise SettingsError(f"--recipe notebook reads windows of {WINDOW}: leave --seq-len out")
    return config


def _setup(
    corpus: Corpus,
    texts: tuple[Path, ...],
    request: Request,
    config: TrainingConfig,
    source: Source | None,
) -> Setup:
    characters = len(corpus.ids)
    if characters < MINIMUM_CHARACTERS:
        raise CorpusError(
            f"{', '.join(map(str, texts))}: {characters} characters after normalisation, and a "
            f"model needs {MINIMUM_CHARACTERS} at the least (a hundred thousand to be worth while)"
        )
    learnt = parts(corpus.ids, config.final).train
    counts = np.bincount(learnt, minlength=len(corpus.vocabulary))
    size = len(corpus.vocabulary)
    model = (
        ModelConfig(vocabulary=size, **_sizes(request))
        if source is None
        else fine_tune.model_config(source, size, request.options or {})
    )
    dropout_said = "dropout" in _sizes(request)
    model, config = scale.settle(model, config, len(learnt), dropout_said=dropout_said)
    return Setup(
        model=model,
        training=config,
        normalisation=corpus.normalisation,
        encoding=request.encoding or "utf-8",
        files=tuple(str(path.resolve()) for path in texts),
        sha256=corpus.sha256,
        vocabulary=corpus.vocabulary.characters,
        initial=tuple(counts.tolist()),
        rare=corpus.rare,
        initialised_from=fine_tune.recorded(source) if source else None,
    )


def _folder(request: Request) -> Path:
    if request.out is not None:
        return request.out
    if request.resume and not request.texts:
        return run_folder.newest(holding=checkpoint.FILE)
    text = request.texts[0] if request.texts else SAMPLE
    return Path("runs") / text.stem


def _normalisation(request: Request, base: Normalisation) -> Normalisation:
    said = {"case": request.case, "newlines": request.newlines, "nfc": request.nfc}
    chosen = {key: value for key, value in said.items() if value is not None}
    return Normalisation.from_dict(base.as_dict() | chosen)


def _model_difference(setup: Setup, request: Request) -> str:
    return difference(setup.model, replace(setup.model, **_sizes(request)))


def _sizes(request: Request) -> dict[str, Any]:
    said = request.options or {}
    return {key: said[key] for key in ("hidden", "layers", "dropout") if said.get(key) is not None}


def _device(wanted: str) -> str:
    if wanted not in DEVICES:
        raise SettingsError(f"--device is one of {', '.join(DEVICES)}, not {wanted!r}")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"--device cuda: {_why_no_cuda()}; use --device cpu")
    return wanted


def _why_no_cuda() -> str:
    return "Torch sees no NVIDIA GPU" if torch.version.cuda else "this Torch is a CPU build"
