"""A run's progress under changed settings: where it goes on, and for how many steps.

The schedule goes on too: at each step the rate is what a run of the new length, with the new peaks,
would have there.
"""

import copy
from dataclasses import replace
from typing import Any

import torch

from charlm.data.system.errors import RunError
from charlm.train.config import TrainingConfig
from charlm.train.optim.optimise import set_decay
from charlm.train.runs.checkpoint import Progress, Setup, random_state

RESTARTING = ("batch_size", "seq_len")  # settings that cut the text in another way


def restarts_epoch(old: Setup, new: Setup) -> bool:
    """Whether the unfinished epoch has to be begun anew."""
    return old.sha256 != new.sha256 or any(
        getattr(old.training, name) != getattr(new.training, name) for name in RESTARTING
    )


def adapt(progress: Progress, old: Setup, new: Setup, steps_an_epoch: int) -> Progress:
    """The progress to go on with.

    Args:
        progress: of a run with `old`; it stays as it is.
        old: the settings until now.
        new: the settings from now on.
        steps_an_epoch: with the new ones.

    Raises:
        RunError: nothing is left to train, or the run is still in its warm-up.
    """
    changed = replace(progress, optimiser=_with_rates(progress.optimiser, new.training))
    if restarts_epoch(old, new):
        if progress.total_steps is None:
            raise RunError(
                "the run is still in the warm-up that fixes its number of steps, and text, "
                "--batch-size and --seq-len can't change there: start anew with --overwrite"
            )
        changed = replace(
            changed, step_in_epoch=0, carried=None, loss_sum=0.0, loss_characters=0,
            epoch_seconds=0.0,
        )  # fmt: skip
    if old.sha256 != new.sha256:  # figures of another text can't be compared
        changed = replace(changed, best_bits=None, stale_epochs=0)
    if old.training.device != new.training.device:
        torch.manual_seed(new.training.seed + progress.step)
        changed = replace(changed, rng=random_state(new.training.device))
    if progress.total_steps is not None:
        changed = _with_length(changed, new.training, steps_an_epoch)
    return changed


def _with_rates(optimiser: dict[str, Any], config: TrainingConfig) -> dict[str, Any]:
    """The optimisers' state with a configuration's peaks, Adam's and perhaps Muon's, and decay."""
    state = copy.deepcopy(optimiser)
    for part, peak in zip(state["parts"], (config.lr, config.muon_lr), strict=False):
        for group in part["param_groups"]:
            group["lr"] *= peak / group["peak"]
            group["peak"] = peak
            if config.recipe == "stateful":
                set_decay(group, config.weight_decay)
    return state


def _with_length(progress: Progress, config: TrainingConfig, steps_an_epoch: int) -> Progress:
    total = _total_steps(progress, config, steps_an_epoch)
    stale = 0 < config.patience <= progress.stale_epochs
    if total <= progress.step or stale:
        reason = "no better epoch came in --patience" if stale else "its steps are taken"
        raise RunError(
            f"nothing is left to train at step {progress.step} ({reason}): "
            "ask for more with --epochs, --minutes or --patience"
        )
    schedule = progress.schedule
    if schedule is not None:
        before = progress.step - schedule["taken"]  # steps of the warm-up
        schedule = {"total_steps": total - before, "taken": schedule["taken"]}
    return replace(progress, total_steps=total, schedule=schedule, finished=False, test_bits=None)


def _total_steps(progress: Progress, config: TrainingConfig, steps_an_epoch: int) -> int:
    """Steps from the run's beginning to its end; where both limits are named, the nearer one."""
    totals = []
    if config.epochs is not None:
        left = (config.epochs - progress.epoch) * steps_an_epoch
        totals.append(progress.step - progress.step_in_epoch + left)
    if config.minutes is not None:
        seconds_a_step = progress.seconds / max(progress.step, 1)
        left = int((60 * config.minutes - progress.seconds) / max(seconds_a_step, 1e-9))
        totals.append(progress.step + left)
    return min(totals)
