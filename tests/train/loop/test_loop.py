"""The training loop, in this process: what it learns, keeps, measures, and refuses."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from charlm.data.system.errors import TrainingError
from charlm.data.text.corpus import Splits, split
from charlm.train.config import NOTEBOOK_DEFAULTS, ModelConfig, TrainingConfig
from charlm.train.loop import training as loop
from charlm.train.loop.evaluate import bits_per_character
from charlm.train.loop.training import Trainer
from charlm.train.model import CharLSTM
from charlm.train.optim.optimisers import START
from charlm.train.runs.checkpoint import Progress
from charlm.train.setup import budget
from tests.train.helpers import Watcher, setup_of

REPETITIVE = np.tile(np.arange(4, dtype=np.uint8), 300)  # 0 1 2 3 0 1 2 3 …
MISLEADING = np.concatenate([REPETITIVE[:1080], REPETITIVE[1080:][::-1]])
"""Held-out parts run backwards: the better it is learnt, the worse they are predicted."""
BASE = TrainingConfig(epochs=6, batch_size=4, seq_len=30, lr=0.03)
STEPS = 9  # an epoch


def make(
    config: TrainingConfig = BASE, ids: Any = REPETITIVE, progress: Progress | None = None
) -> Trainer:
    return Trainer(setup_of(config), split(ids), progress)


def stopped_when(reached: Callable[[Progress], bool], config: TrainingConfig = BASE) -> Progress:
    """The state that is saved when a run is stopped where `reached` says so."""
    trainer = make(config)
    watcher = Watcher(stop_when=lambda: reached(trainer.progress))
    assert not trainer.run(watcher)
    assert watcher.saved is not None
    return watcher.saved.progress


def scores(weights: dict[str, Tensor], ids: Any) -> float:
    model = CharLSTM(ModelConfig(vocabulary=4, hidden=8))
    model.load_state_dict(weights)
    return bits_per_character(model, ids)


def assert_same(one: Progress, other: Progress) -> None:
    for name, weights in one.weights.items():
        assert torch.equal(weights, other.weights[name]), name
    keys = ("step", "epoch", "train_bits", "validation_bits", "lr")
    for left, right in zip(one.metrics, other.metrics, strict=True):
        assert [left[key] for key in keys] == [right[key] for key in keys]  # type: ignore[literal-required]
    assert (one.step, one.best_epoch) == (other.step, other.best_epoch)
    assert one.test_bits == other.test_bits


def test_learns_a_repetitive_text() -> None:
    watcher, trainer = Watcher(), make()
    assert trainer.run(watcher)
    assert [record["epoch"] for record in watcher.records] == [1, 2, 3, 4, 5, 6]
    assert {len(sample) for sample in watcher.samples} == {loop.SAMPLE_LENGTH}
    assert watcher.records[0]["train_bits"] > 1.5
    assert watcher.records[-1]["train_bits"] < 0.2
    assert watcher.records[-1]["validation_bits"] < 0.2
    assert trainer.progress.step == trainer.progress.total_steps == 6 * len(trainer.batches)
    assert trainer.progress.metrics == watcher.records
    rates = [record["lr"] for record in watcher.records]
    assert rates == sorted(rates, reverse=True)
    assert 0 == rates[-1] < rates[0] < BASE.lr
    assert json.loads(json.dumps(watcher.records)) == watcher.records
    assert set(watcher.records[0]) == {
        "step", "epoch", "train_bits", "validation_bits", "seconds", "characters_per_second",
        "lr",
    }  # fmt: skip


def test_learns_by_the_notebooks_recipe() -> None:
    config = TrainingConfig(recipe="notebook", **NOTEBOOK_DEFAULTS | {"lr": 0.03})
    watcher, trainer = Watcher(), make(replace(config, batch_size=32))
    assert trainer.run(watcher)
    assert watcher.records[0]["train_bits"] > 1
    assert watcher.records[-1]["train_bits"] < 0.2
    assert {record["lr"] for record in watcher.records} == {0.03}  # constant, as there


def test_the_best_epochs_weights_are_kept_and_the_test_scored_once_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    splits = split(MISLEADING)
    scored: list[str] = []

    def spy(model: CharLSTM, ids: Any) -> float:
        scored.append("test" if ids is trainer.test else "validation")
        return bits_per_character(model, ids)

    monkeypatch.setattr(loop, "bits_per_character", spy)
    watcher, trainer = Watcher(), make(replace(BASE, patience=0, epochs=12), MISLEADING)
    trainer.run(watcher)
    held_out = [record["validation_bits"] for record in watcher.records]
    progress = trainer.progress
    assert progress.best_epoch == 1 + int(np.argmin(held_out)) < len(held_out)
    assert progress.best_weights is not None
    assert progress.best_bits == pytest.approx(min(held_out), abs=1e-5)
    assert scores(progress.best_weights, splits.validation) == progress.best_bits
    assert scores(progress.weights, splits.validation) == pytest.approx(held_out[-1], abs=1e-5)
    assert progress.test_bits == round(scores(progress.best_weights, splits.test), 5)
    assert scored == ["validation"] * 12 + ["test"]


def test_stops_early_when_validation_no_longer_improves() -> None:
    trainer = make(replace(BASE, patience=2, epochs=50), MISLEADING)
    assert trainer.run(Watcher())
    progress = trainer.progress
    assert progress.finished
    assert progress.epoch == progress.best_epoch + 2 < 50
    assert progress.test_bits is not None


def test_final_has_no_validation_and_keeps_the_last_epoch() -> None:
    splits = Splits(REPETITIVE[:1140], REPETITIVE[:0], REPETITIVE[1140:])
    watcher = Watcher()
    trainer = Trainer(setup_of(replace(BASE, final=True, epochs=2)), splits, None)
    assert trainer.run(watcher)
    assert [record["validation_bits"] for record in watcher.records] == [None, None]
    assert trainer.progress.best_epoch == 2
    assert trainer.progress.test_bits is not None
    assert trainer.progress.carried is not None
    assert not any(part.any() for part in trainer.progress.carried)  # an epoch begins with zeros


def poisoned(trainer: Trainer, at: int) -> Trainer:
    """A trainer whose gradient of the head's biases is not finite in step `at`, counted from 1."""
    bias = trainer.model.head.bias
    spoilt = torch.full_like(bias, math.nan)
    bias.register_hook(lambda own: spoilt if trainer.progress.step == at - 1 else own)
    return trainer


def test_a_loss_that_is_not_finite_ends_training_and_is_never_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    watcher = Watcher()
    with pytest.raises(TrainingError, match=r"not finite at step 27 .epoch 3.*lower `lr`"):
        poisoned(make(), at=25).run(watcher)
    assert watcher.saved_steps == [0, 9, 10, 18, 20]


def test_bits_far_above_guessing_end_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "bits_per_character", lambda *_: 17.0)
    watcher = Watcher()
    with pytest.raises(TrainingError, match="17 bits per character after step 9, where guessing"):
        make().run(watcher)
    assert watcher.saved_steps == [0]


@pytest.mark.parametrize("final", [True, False])
def test_weights_that_are_not_finite_are_never_saved(final: bool) -> None:
    """A finite loss may have an update that is not: here that of an epoch's last step."""
    watcher = Watcher()
    with pytest.raises(TrainingError, match="weights are not finite after step 18"):
        poisoned(make(replace(BASE, final=final)), at=18).run(watcher)
    assert watcher.saved_steps == [0, 9]
    watcher = Watcher(stop_when=lambda: True)
    with pytest.raises(TrainingError, match="after step 1:"):
        poisoned(make(), at=1).run(watcher)
    assert watcher.saved_steps == [0], "a stop saves nothing then"


@pytest.fixture(scope="module")
def whole() -> Trainer:
    """A run that was never stopped."""
    trainer = make()
    trainer.run(Watcher())
    return trainer


@pytest.mark.parametrize("at", [1, 9, 10, 27, 54])
def test_a_run_stopped_after_any_step_ends_as_one_that_was_not(at: int, whole: Trainer) -> None:
    """27 and 54: the last step of an epoch, saved before its evaluation; 54 also of the run."""
    resumed = make(progress=stopped_when(lambda progress: progress.step == at))
    assert resumed.run(Watcher())
    assert_same(resumed.progress, whole.progress)


MINUTES = replace(BASE, epochs=None, minutes=0.001)


@pytest.fixture
def twenty_steps(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """Any budget allows twenty steps after the warm-up; what was measured for it."""
    measured: list[dict[str, float]] = []
    monkeypatch.setattr(budget, "steps_for", lambda **found: measured.append(found) or 20)
    return measured


def test_minutes_fix_the_number_of_steps_once_and_a_resumed_run_keeps_it(
    twenty_steps: list[dict[str, float]],
) -> None:
    """Also where the last epoch is not whole, and the run is stopped after its last step."""
    saved = stopped_when(lambda progress: progress.total_steps is not None, MINUTES)
    fixed = saved.total_steps
    assert fixed == saved.step + 20
    resumed = make(MINUTES, progress=saved)
    watcher = Watcher(stop_when=lambda: resumed.progress.step == fixed)
    assert not resumed.run(watcher)
    assert watcher.saved is not None
    again = make(MINUTES, progress=watcher.saved.progress)
    assert again.run(Watcher())
    assert again.progress.step == again.progress.total_steps == fixed
    assert again.progress.metrics[-1]["epoch"] == round(fixed / STEPS, 4)
    assert len(twenty_steps) == 1, "measured again"


def test_a_stop_in_the_warm_up_measures_again(twenty_steps: list[dict[str, float]]) -> None:
    saved = stopped_when(lambda progress: progress.step == 3, MINUTES)
    assert saved.total_steps is None
    rates = [
        group["lr"] / group["peak"]
        for part in saved.optimiser["parts"]
        for group in part["param_groups"]
    ]
    assert rates == pytest.approx([START] * len(rates)), "low, while the budget is measured"
    saved.best_bits, saved.best_weights = 0.0, saved.weights
    saved.stale_epochs = 49  # of the warm-up, so that they count for nothing
    resumed = make(replace(MINUTES, patience=50), progress=saved)
    assert resumed.run(Watcher())
    assert resumed.progress.step == resumed.progress.total_steps
    assert len(twenty_steps) == 1


def test_fewer_epochs_than_the_warm_up_has_taken_end_the_run() -> None:
    config = replace(BASE, epochs=None, minutes=1000.0)
    saved = stopped_when(lambda progress: progress.step == STEPS + 1, config)
    resumed = make(replace(config, epochs=1), progress=saved)
    assert resumed.run(Watcher())
    assert resumed.progress.epoch == 2


def test_epochs_bound_a_budget_of_minutes() -> None:
    long_warm_up = make(replace(BASE, epochs=1, minutes=1000.0))  # 9 steps, fewer than it needs
    rates: list[float] = []
    watcher = Watcher(stop_when=lambda: rates.append(rate_of(long_warm_up)) is not None)
    assert long_warm_up.run(watcher)
    assert long_warm_up.progress.step == STEPS
    assert max(rates) > 0.8, "but they are steps of a schedule"
    after_it = make(replace(BASE, epochs=3, minutes=1000.0, seq_len=2))
    assert after_it.run(Watcher())
    assert after_it.progress.step == 3 * len(after_it.batches)


def rate_of(trainer: Trainer) -> float:
    group = trainer.optimiser.param_groups[0]
    return float(group["lr"] / group["peak"])


def test_no_epoch_of_the_warm_up_is_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rate is low: that validation does not fall says nothing."""
    rising = iter(range(1, 1000))
    monkeypatch.setattr(loop, "bits_per_character", lambda *_: next(rising) / 100)
    trainer = make(replace(BASE, epochs=None, minutes=0.02, seq_len=90, patience=1))
    assert trainer.run(Watcher())
    assert trainer.progress.total_steps is not None
    assert trainer.progress.schedule is not None


def test_minutes_where_an_epoch_is_one_step() -> None:
    trainer = make(replace(MINUTES, seq_len=269, patience=0))
    assert len(trainer.batches) == 1
    assert trainer.run(Watcher())
    assert trainer.progress.epoch == trainer.progress.step == trainer.progress.total_steps


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("how", [{"autocast": "bf16"}, {"tf32": True}, {}])
def test_learns_on_a_gpu(how: dict[str, object]) -> None:
    watcher = Watcher()
    make(replace(BASE, device="cuda", **how)).run(watcher)  # type: ignore[arg-type]
    assert watcher.records[-1]["validation_bits"] < 0.3
    assert watcher.saved is not None
    assert watcher.saved.progress.carried is not None
    assert watcher.saved.progress.carried[0].dtype == torch.float32
