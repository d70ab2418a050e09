"""Going on with a run: from the same text and settings, or from others that were agreed to."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import torch

from charlm.data.system import console
from charlm.data.system.errors import RunError
from charlm.data.system.files import remove_leftovers
from charlm.data.text.corpus import Corpus, digest_files, read_corpus
from charlm.data.text.ids import count
from charlm.data.text.limit import Alphabet
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.batches.batches import check_shares, make_batches
from charlm.train.batches.parts import check_length, parts
from charlm.train.config import differences
from charlm.train.runs import run_folder, versions
from charlm.train.runs.checkpoint import Checkpoint, Setup
from charlm.train.setup import fine_tune, settle
from charlm.train.setup.adapt import adapt, restarts_epoch
from charlm.train.setup.request import Request, Started

_SHAPE = "the weights have that shape"
_IDS = "the text would have other token ids"
WHY_FIXED = {
    "hidden": _SHAPE,
    "layers": _SHAPE,
    "recipe": "the recipes read the text in different ways",
    "optimiser": "what it remembers is of another kind",
    "final": "what was held out would be learnt from, or the other way round",
    "seed": "the weights have been drawn",
    "encoding": _IDS,
    "normalisation": _IDS,
    "rare": _IDS,
}
"""Why these can't change in the middle of a run."""


def refuse_fixed(folder: Path, changed: dict[str, str]) -> None:
    """Refuse what can't change.

    Args:
        folder: the run's.
        changed: by setting, `--name old, not new`.

    Raises:
        RunError: names what can't, and why.
    """
    fixed = [f"{text} ({WHY_FIXED[name]})" for name, text in changed.items() if name in WHY_FIXED]
    if fixed:
        raise RunError(
            f"{folder} was begun with {'; '.join(fixed)}: leave that out to go on with it, or "
            "train into another folder with --out"
        )


def agree(folder: Path, found: list[str], consequence: str, accepted: bool) -> None:
    """Say what differs, and have it agreed to: by `accepted`, or by who sits at the terminal.

    Args:
        folder: the run's.
        found: what differs, each as `name old, not new`.
        consequence: of going on all the same; empty where there is nothing to say of it.
        accepted: don't ask.

    Raises:
        RunError: nobody did.
    """
    if not found:
        return
    asks = not accepted and sys.stdin is not None and sys.stdin.isatty()
    if not accepted and not asks:
        raise RunError(
            f"{folder} was begun with {'; '.join(found)}: to go on with it as it was, undo that; "
            f"to go on all the same{consequence and f' ({consequence})'}, say --accept-changes"
        )
    for each in found:
        console.say(f"{folder} was begun with {each}")
    if consequence:
        console.say(f"{folder}: {consequence}")
    if asks and not _says_yes():
        raise RunError(f"{folder} was left as it is")


def _says_yes() -> bool:
    print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def resume(folder: Path, request: Request) -> Started:
    """Open a run folder, and settle what differs from when it was left.

    Raises:
        RunError: something differs that can't, or that nobody agreed to.
        CorpusError: the text can't be read, or has characters that the run does not know.
    """
    saved = Checkpoint.load(folder)
    old = saved.setup
    _check_still_possible(folder, old, request)
    texts = request.texts or tuple(Path(name) for name in old.files)
    new = replace(
        old,
        model=replace(old.model, **settle.sizes(request)),
        training=settle.training_config(request.options or {}, old.training, begun=True),
        files=tuple(str(path.resolve()) for path in texts),
        sha256=digest_files(texts),
        versions=versions.current(),
    )
    check_shares(new.training, request.processes)
    changed = differences(old.model, new.model) | differences(old.training, new.training)
    refuse_fixed(folder, changed | _other_changes(old, request))
    if request.init_from is not None:
        fine_tune.check_same_source(old, request.init_from, folder)
    found = _listed(saved, new, changed, texts)
    agree(folder, found, _consequence(saved, new), request.accept_changes)
    corpus = _read(texts, old, folder)
    if new.sha256 != old.sha256:
        new = _of_another_text(new, texts, corpus)
    splits = parts(corpus.ids, new.training.final)
    progress = saved.progress
    if changed or new.sha256 != old.sha256:
        steps = len(make_batches(new.training, splits.train))
        progress = adapt(progress, old, new, steps)
    remove_leftovers(folder)
    run_folder.write(folder, Checkpoint(new, progress))
    return Started(folder, new, splits, progress)


def _check_still_possible(folder: Path, setup: Setup, request: Request) -> None:
    device = (request.options or {}).get("device")
    on_cuda = setup.training.device == "cuda" and device in (None, "auto", "cuda")
    if on_cuda and not torch.cuda.is_available():
        raise RunError(
            f"{folder} was begun on CUDA, and {settle.why_no_cuda()}: go on here, with other "
            "rounding, with --device cpu"
        )
    gone = [name for name in setup.files if not Path(name).is_file()]
    if gone and not request.texts:
        raise RunError(
            f"{folder} was begun with {', '.join(gone)}, which is no longer there: name the text "
            f"where it is now, with charlm-train TEXT --resume --out {shlex.quote(str(folder))}"
        )


def _other_changes(setup: Setup, request: Request) -> dict[str, str]:
    """By kind, what differs besides the fields of the configurations."""
    changed = {}
    if request.encoding not in (None, setup.encoding):
        changed["encoding"] = f"--encoding {setup.encoding}, not {request.encoding}"
    if settle.normalisation(request, setup.normalisation) != setup.normalisation:
        changed["normalisation"] = f"{setup.normalisation}, not --case, --newlines or --nfc as said"
    if rare := request.rare.difference(setup.rare):
        changed["rare"] = rare
    return changed


def _listed(
    saved: Checkpoint, new: Setup, changed: dict[str, str], texts: tuple[Path, ...]
) -> list[str]:
    """What there is to agree to; with versions alone, only where something is left to train."""
    old = saved.setup
    found = list(changed.values())
    if new.sha256 != old.sha256:
        found.append(
            f"another text than {', '.join(map(str, texts))} (sha256 {old.sha256[:12]}…, not "
            f"{new.sha256[:12]}…)"
        )
    if saved.progress.finished and not found:
        return []
    if old.versions is None:
        console.say("the versions of Torch and others that the run was saved with are unknown")
        return found
    return found + versions.differences(old.versions, versions.current())


def _consequence(saved: Checkpoint, new: Setup) -> str:
    progress = saved.progress
    if restarts_epoch(saved.setup, new) and progress.step_in_epoch:
        return f"epoch {progress.epoch + 1} then begins anew, after {progress.step} steps"
    return ""


def _read(texts: tuple[Path, ...], old: Setup, scratch: Path) -> Corpus:
    # Not chosen anew even from the same text: it may have come to a run that knew other characters.
    alphabet = Alphabet(Vocabulary(old.vocabulary), old.rare)
    return read_corpus(texts, old.normalisation, old.encoding, alphabet=alphabet, scratch=scratch)


def _of_another_text(setup: Setup, texts: tuple[Path, ...], corpus: Corpus) -> Setup:
    check_length(texts, len(corpus.ids))
    learnt = parts(corpus.ids, setup.training.final).train
    counts = count(learnt, len(setup.vocabulary))
    return replace(
        setup,
        sha256=corpus.sha256,
        initial=tuple(counts.tolist()),
        rare=corpus.rare,
    )
