"""Beginning a run, or going on with one: which folder, which settings, which text."""

from dataclasses import replace
from pathlib import Path

from charlm.data.system.errors import RunError, SettingsError
from charlm.data.text.corpus import SAMPLE, Corpus, Splits, read_corpus
from charlm.data.text.ids import count
from charlm.data.text.normalise import Normalisation
from charlm.train.batches.batches import check_shares, make_batches
from charlm.train.batches.parts import check_length, learnt_percent, parts
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.memory import check_fits
from charlm.train.runs import checkpoint, run_folder, versions
from charlm.train.runs.checkpoint import Setup
from charlm.train.runs.make_folder import nearest_folder, open_folder, refuse_imported
from charlm.train.runs.resume import resume
from charlm.train.setup import fine_tune, pace, scale, settle
from charlm.train.setup.request import Request, Started
from charlm.train.setup.settle import training_config
from charlm.train.setup.source import Source, read_source

__all__ = ["Request", "Started", "folder_of", "start", "training_config"]


def start(request: Request) -> Started:
    """Read the text, settle the settings, and make or open the run folder.

    Raises:
        SettingsError: an option out of range.
        CorpusError: a text that can't be learnt from.
        RunError: the folder holds a run already, another one than asked for, or can't be used.
    """
    if request.resume and request.overwrite:
        raise SettingsError("--resume and --overwrite contradict each other: give one of them")
    folder = folder_of(request)
    if checkpoint.exists(folder):
        if request.resume:
            if request.lock is not None:
                request.lock.take(folder)
            return resume(folder, request)
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
    base = source.normalisation if source else Normalisation()
    normalisation = settle.normalisation(request, base)
    config = training_config(request.options or {}, TrainingConfig())
    if source is not None:
        config = fine_tune.gentle(config, request.options or {})
    encoding = request.encoding or "utf-8"
    scratch = nearest_folder(folder)
    learnt = learnt_percent(config.final)
    keep = source.vocabulary.characters if source else ()
    corpus = read_corpus(texts, normalisation, encoding, wanted, learnt, keep=keep, scratch=scratch)
    if source is not None:
        extended = fine_tune.extended_vocabulary(source, corpus)
        corpus = fine_tune.in_vocabulary(corpus, extended, scratch)
    check_length(texts, len(corpus.ids))
    splits = parts(corpus.ids, config.final)
    check_shares(config, request.processes)
    make_batches(config, splits.train)  # too short a text must not cost the run in the folder
    setup = _setup(corpus, splits, request, config, source)
    weights = fine_tune.initial_weights(source, setup) if source else None
    open_folder(folder, request.overwrite, request.lock)
    return Started(folder, setup, splits, None, weights)


def _setup(
    corpus: Corpus,
    splits: Splits,
    request: Request,
    config: TrainingConfig,
    source: Source | None,
) -> Setup:
    counts = count(splits.train, len(corpus.vocabulary))
    size = len(corpus.vocabulary)
    model = (
        ModelConfig(vocabulary=size, **settle.sizes(request))
        if source is None
        else fine_tune.model_config(source, size, request.options or {})
    )
    check_fits(model)
    # Weights that have learnt without dropout are lost by it: then it is the source's.
    asked = {name for name, value in (request.options or {}).items() if value is not None}
    said = asked if source is None else scale.HELD_BACK
    most = scale.MOST if source is None else scale.FINE_TUNING
    goes_by_passes = config.recipe == "stateful" and not {"dropout", "output_dropout"} <= set(said)
    if config.minutes is not None and goes_by_passes:
        config = replace(config, passes=pace.passes(model, config, splits, request.processes))
    model, config = scale.settle(model, config, len(splits.train), said=said, most=most)
    return Setup(
        model=model,
        training=config,
        normalisation=corpus.normalisation,
        encoding=request.encoding or "utf-8",
        files=tuple(str(path.resolve()) for path in request.texts or (SAMPLE,)),
        sha256=corpus.sha256,
        vocabulary=corpus.vocabulary.characters,
        initial=tuple(counts.tolist()),
        rare=corpus.rare,
        initialised_from=fine_tune.recorded(source) if source else None,
        versions=versions.current(),
    )


def folder_of(request: Request) -> Path:
    """The run folder that a request means.

    Raises:
        RunError: it names none, and there is no run to resume.
    """
    if request.out is not None:
        return request.out
    if request.resume and not request.texts:
        return run_folder.newest(holding=checkpoint.FILE)
    text = request.texts[0] if request.texts else SAMPLE
    return Path("runs") / text.stem
