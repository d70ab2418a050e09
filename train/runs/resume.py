"""Going on with a run: from the same text and settings, or from others that were agreed to."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path

import torch

from charlm.data.system import console
from charlm.data.system.errors import RunError, as_options
from charlm.data.system.files import remove_leftovers
from charlm.data.text.corpus import digest_files, read_corpus
from charlm.data.text.ids import count
from charlm.data.text.limit import Alphabet
from charlm.data.text.vocabulary import Vocabulary
from charlm.train.config import TrainingConfig, differences
from charlm.train.loop.batches import check_length, check_shares, make_batches, split_text
from charlm.train.optim.optimisers import with_settings
from charlm.train.runs import run_folder
from charlm.train.runs.checkpoint import Checkpoint, Progress, Setup, current_versions, random_state
from charlm.train.setup.start import RunRequest, Started, training_config, why_no_cuda

WHY_FIXED = {
    **dict.fromkeys(("hidden", "layers"), "the weights have that shape"),
    "recipe": "the recipes read the text in different ways",
    "optimiser": "what it remembers is of another kind",
    "final": "what was held out would be learnt from, or the other way round",
    "seed": "the weights have been drawn",
    **dict.fromkeys(("encoding", "normalisation", "rare"), "the text would have other token ids"),
}
"""Why these can't change in the middle of a run."""
CUTTING = ("batch_size", "seq_len")  # settings that cut the text in another way


def resume(folder: Path, request: RunRequest) -> Started:
    """Open a run folder, and have agreed to what differs from when it was left.

    Raises:
        RunError: something differs that can't, or that nobody agreed to.
        CorpusError: the text can't be read, or has characters that the run does not know.
    """
    saved = Checkpoint.load(folder)
    old, progress = saved.setup, saved.progress
    _check_still_possible(folder, old, request)
    texts = request.texts or tuple(Path(name) for name in old.files)
    new = replace(
        old,
        model=replace(old.model, **request.sizes()),
        training=training_config(request.options, old.training, begun=True),
        files=tuple(str(path.resolve()) for path in texts),
        sha256=digest_files(texts),
        versions=current_versions(),
    )
    check_shares(new.training, request.processes)
    changed = differences(old.model, new.model) | differences(old.training, new.training)
    _refuse_fixed(folder, changed | _changes_of_reading(old, request))
    if request.init_from is not None:
        from charlm.train.setup.fine_tune import check_same_source

        check_same_source(old, request.init_from, folder)
    _agree(folder, saved, new, list(changed.values()), request.accept_changes)
    # Not chosen anew even from the same text: it may have come to a run that knew other characters.
    alphabet = Alphabet(Vocabulary(old.vocabulary), old.rare)
    corpus = read_corpus(texts, old.normalisation, old.encoding, alphabet=alphabet, scratch=folder)
    splits = split_text(corpus.ids, new.training.final)
    if new.sha256 != old.sha256:
        check_length(texts, len(corpus.ids))
        counts = count(splits.train, len(old.vocabulary))
        new = replace(new, sha256=corpus.sha256, initial=tuple(counts.tolist()), rare=corpus.rare)
    if changed or new.sha256 != old.sha256:
        steps_an_epoch = len(make_batches(new.training, splits.train))
        progress = adapted(progress, old, new, steps_an_epoch)
    remove_leftovers(folder)
    run_folder.write(folder, Checkpoint(new, progress))
    return Started(folder, new, splits, progress)


def adapted(progress: Progress, old: Setup, new: Setup, steps_an_epoch: int) -> Progress:
    """A run's progress under changed settings, as a copy; `steps_an_epoch` is with the new ones.

    The schedule goes on too: at each step the rate is what a run of the new length, with the new
    peaks, would have there.

    Raises:
        RunError: nothing is left to train, or the run is still in its warm-up.
    """
    changed = replace(progress, optimiser=with_settings(progress.optimiser, new.training))
    if _restarts_epoch(old, new):
        if progress.total_steps is None:
            raise RunError(
                "the run is still in the warm-up that fixes its number of steps, and text, "
                "`batch_size` and `seq_len` can't change there: start anew with `overwrite`"
            )
        changed.carried, changed.step_in_epoch, changed.epoch_seconds = None, 0, 0.0
        changed.loss_sum, changed.loss_characters = 0.0, 0
    if old.sha256 != new.sha256:  # figures of another text can't be compared
        changed.best_bits, changed.stale_epochs = None, 0
    if old.training.device != new.training.device:
        torch.manual_seed(new.training.seed + progress.step)
        changed.rng = random_state(new.training.device)
    if progress.total_steps is not None:
        _set_length(changed, new.training, steps_an_epoch)
    return changed


def _set_length(progress: Progress, config: TrainingConfig, steps_an_epoch: int) -> None:
    """Fix the number of steps anew, from the run's beginning: the nearer of the limits named."""
    totals = []
    if config.epochs is not None:
        left = round((config.epochs - progress.epochs_read(progress.epoch)) * steps_an_epoch)
        totals.append(progress.step - progress.step_in_epoch + left)
    if config.minutes is not None:
        seconds_a_step = progress.seconds / max(progress.step, 1)
        left = int((60 * config.minutes - progress.seconds) / max(seconds_a_step, 1e-9))
        totals.append(progress.step + left)
    total = min(totals)
    stale = 0 < config.patience <= progress.stale_epochs
    if total <= progress.step or stale:
        reason = "no better epoch came in `patience`" if stale else "its steps are taken"
        raise RunError(
            f"nothing is left to train at step {progress.step} ({reason}): "
            "ask for more with `epochs`, `minutes` or `patience`"
        )
    progress.total_steps, progress.finished, progress.test_bits = total, False, None
    if progress.schedule is not None:
        taken = progress.schedule["taken"]  # fewer than all steps, by those of the warm-up
        progress.schedule = {"total_steps": total - (progress.step - taken), "taken": taken}


def _restarts_epoch(old: Setup, new: Setup) -> bool:
    """Whether the unfinished epoch has to be begun anew."""
    return old.sha256 != new.sha256 or any(
        getattr(old.training, name) != getattr(new.training, name) for name in CUTTING
    )


def _check_still_possible(folder: Path, setup: Setup, request: RunRequest) -> None:
    device = request.options.get("device", "auto")
    if setup.training.device == "cuda" and device != "cpu" and not torch.cuda.is_available():
        raise RunError(
            f"{folder} was begun on CUDA, and {why_no_cuda()}: go on here, with other "
            "rounding, with `device` cpu"
        )
    gone = [name for name in setup.files if not Path(name).is_file()]
    if gone and not request.texts:
        raise RunError(
            f"{folder} was begun with {', '.join(gone)}, which is no longer there: name the text "
            f"where it is now, with charlm-train TEXT --resume --out {shlex.quote(str(folder))}"
        )


def _changes_of_reading(setup: Setup, request: RunRequest) -> dict[str, str]:
    """By kind, what differs in how the text is read."""
    changed = {}
    if request.encoding not in (None, setup.encoding):
        changed["encoding"] = f"`encoding` {setup.encoding}, not {request.encoding}"
    if request.normalisation(setup.normalisation) != setup.normalisation:
        changed["normalisation"] = f"{setup.normalisation}, not `case`, `newlines` or `nfc` as said"
    if rare := request.rare.difference(setup.rare):
        changed["rare"] = rare
    return changed


def _refuse_fixed(folder: Path, changed: dict[str, str]) -> None:
    """Refuse what can't change, of what does: by setting."""
    fixed = [f"{text} ({WHY_FIXED[name]})" for name, text in changed.items() if name in WHY_FIXED]
    if fixed:
        raise RunError(
            f"{folder} was begun with {'; '.join(fixed)}: leave that out to go on with it, or "
            "train into another folder with `out`"
        )


def _agree(folder: Path, saved: Checkpoint, new: Setup, found: list[str], accepted: bool) -> None:
    """Say what differs, and have it agreed to: by `accepted`, or by who sits at the terminal.

    `found` has the settings that differ, each as `name` old, not new; text and versions are added.
    Where nobody agrees, it raises a `RunError`.
    """
    old, progress = saved.setup, saved.progress
    if new.sha256 != old.sha256:
        found.append(
            f"another text than {', '.join(new.files)} (sha256 {old.sha256[:12]}…, not "
            f"{new.sha256[:12]}…)"
        )
    if found or not progress.finished:  # versions alone matter where something is left to train
        found += _other_versions(old.versions, current_versions())
    if not found:
        return
    consequence = ""
    if _restarts_epoch(old, new) and progress.step_in_epoch:
        consequence = f"epoch {progress.epoch + 1} then begins anew, after {progress.step} steps"
    asks = not accepted and sys.stdin is not None and sys.stdin.isatty()
    if not accepted and not asks:
        raise RunError(
            f"{folder} was begun with {'; '.join(found)}: change that back to go on with it as it "
            f"was; to go on all the same{consequence and f' ({consequence})'}, say `accept_changes`"
        )
    for each in found:
        console.say(f"{folder} was begun with {as_options(each)}")
    if consequence:
        console.say(f"{folder}: {consequence}")
    if asks:
        print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise RunError(f"{folder} was left as it is")


def _other_versions(then: dict[str, str] | None, now: dict[str, str]) -> list[str]:
    """What changed, each as `name old, not new`."""
    if then is None:
        console.say("the versions of Torch and others that the run was saved with are unknown")
        return []
    return [
        f"{name} {then.get(name, 'unknown')}, not {now.get(name, 'unknown')}"
        for name in dict.fromkeys((*then, *now))
        if then.get(name) != now.get(name)
    ]
