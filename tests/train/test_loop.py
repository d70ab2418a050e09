"""The training loop, in this process: what it learns, keeps, measures, and refuses."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from charlm.data.system.errors import TrainingError
from charlm.data.text.corpus import Splits, split
from charlm.data.text.normalise import Normalisation
from charlm.train import loop
from charlm.train.config import NOTEBOOK_DEFAULTS, ModelConfig, TrainingConfig
from charlm.train.evaluate import bits_per_character
from charlm.train.loop import Trainer
from charlm.train.model import CharLSTM
from charlm.train.optim import objective, step
from charlm.train.optim.schedule import START
from charlm.train.runs.checkpoint import Checkpoint, Progress, Setup
from charlm.train.setup.budget import WarmUp, steps_for

REPETITIVE = np.tile(np.arange(4, dtype=np.uint8), 300)  # 0 1 2 3 0 1 2 3 …
MISLEADING = np.concatenate([REPETITIVE[:1080], REPETITIVE[1080:][::-1]])
"""Held-out parts run backwards: the better it is learnt, the worse they are predicted."""
BASE = TrainingConfig(epochs=6, batch_size=4, seq_len=30, lr=0.03)


@dataclass
class Watcher:
    """An observer that keeps what it is told, and asks to stop when `stop_when` says so."""

    stop_when: Callable[[], bool] = lambda: False
    records: list[dict[str, Any]] = field(default_factory=list)
    saved_steps: list[int] = field(default_factory=list)
    saved: Checkpoint | None = None

    def stepped(self, progress: Progress, bits: float, characters_per_second: float) -> None:
        assert math.isfinite(bits)
        assert characters_per_second > 0

    def evaluated(self, record: dict[str, Any], text: str) -> None:
        assert len(text) == loop.SAMPLE_LENGTH
        self.records.append(record)

    def must_stop(self) -> bool:
        return self.stop_when()

    def save(self, checkpoint: Checkpoint, epoch_ended: bool) -> None:
        self.saved_steps.append(checkpoint.progress.step)
        self.saved = checkpoint


def make(
    config: TrainingConfig = BASE, ids: Any = REPETITIVE, progress: Progress | None = None
) -> Trainer:
    parts = split(ids)
    setup = Setup(
        model=ModelConfig(vocabulary=4, hidden=8),
        training=config,
        normalisation=Normalisation(),
        encoding="utf-8",
        files=(),
        sha256="",
        vocabulary=tuple("abcd"),
        initial=(270, 270, 270, 270),
    )
    return Trainer(setup, parts, progress)


def scores(weights: dict[str, Tensor], ids: Any) -> float:
    model = CharLSTM(ModelConfig(vocabulary=4, hidden=8))
    model.load_state_dict(weights)
    return bits_per_character(model, ids)


def test_learns_a_repetitive_text() -> None:
    watcher, trainer = Watcher(), make()
    assert trainer.run(watcher)
    assert [record["epoch"] for record in watcher.records] == [1, 2, 3, 4, 5, 6]
    assert watcher.records[0]["train_bits"] > 1.5
    assert watcher.records[-1]["train_bits"] < 0.2
    assert watcher.records[-1]["validation_bits"] < 0.2
    assert trainer.progress.step == trainer.progress.total_steps == 6 * len(trainer.batches)
    assert trainer.progress.metrics == watcher.records


def test_learns_by_the_notebooks_recipe() -> None:
    config = TrainingConfig(recipe="notebook", **NOTEBOOK_DEFAULTS | {"lr": 0.03})
    watcher, trainer = Watcher(), make(replace(config, batch_size=32))
    assert trainer.run(watcher)
    assert watcher.records[0]["train_bits"] > 1
    assert watcher.records[-1]["train_bits"] < 0.2
    assert {record["lr"] for record in watcher.records} == {0.03}  # constant, as there
    assert trainer.optimiser.param_groups[0]["eps"] == 1e-7


def test_the_rate_falls_to_nothing() -> None:
    watcher = Watcher()
    make().run(watcher)
    rates = [record["lr"] for record in watcher.records]
    assert rates == sorted(rates, reverse=True)
    assert 0 == rates[-1] < rates[0] < BASE.lr


def test_the_best_epochs_weights_are_kept_and_the_test_scored_once_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = split(MISLEADING)
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
    assert scores(progress.best_weights, parts.validation) == progress.best_bits
    assert scores(progress.weights, parts.validation) == pytest.approx(held_out[-1], abs=1e-5)
    assert progress.test_bits == round(scores(progress.best_weights, parts.test), 5)
    assert scored == ["validation"] * 12 + ["test"]


def test_stops_early_when_validation_no_longer_improves() -> None:
    watcher, trainer = Watcher(), make(replace(BASE, patience=2, epochs=50), MISLEADING)
    assert trainer.run(watcher)
    progress = trainer.progress
    assert progress.finished
    assert progress.epoch == progress.best_epoch + 2 < 50
    assert progress.test_bits is not None


def test_final_learns_from_the_first_95_percent() -> None:
    ids = REPETITIVE
    splits = Splits(ids[:1140], ids[1140:1140], ids[1140:])
    base = make(replace(BASE, final=True, epochs=2))
    watcher, trainer = Watcher(), Trainer(base.setup, splits, None)
    assert trainer.run(watcher)
    assert [record["validation_bits"] for record in watcher.records] == [None, None]
    assert trainer.progress.best_epoch == 2  # nothing chooses, so the last
    assert trainer.progress.test_bits is not None


def poison_loss(monkeypatch: pytest.MonkeyPatch, from_call: int) -> None:
    calls = iter(range(1, 10**6))

    def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
        loss = torch.nn.functional.cross_entropy(logits, targets)
        return loss * (math.nan if next(calls) >= from_call else 1.0)

    monkeypatch.setattr(objective, "functional", SimpleNamespace(cross_entropy=cross_entropy))


def test_a_loss_that_is_not_finite_ends_training_and_is_never_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    poison_loss(monkeypatch, from_call=25)
    watcher = Watcher()
    with pytest.raises(TrainingError, match=r"not finite at step 27 .epoch 3.*lower --lr"):
        make().run(watcher)
    assert watcher.saved_steps == [0, 9, 10, 18, 20]


@pytest.mark.parametrize("final", [True, False])
def test_weights_that_are_not_finite_are_never_saved(
    monkeypatch: pytest.MonkeyPatch, final: bool
) -> None:
    """A finite loss may have an update that is not: here that of an epoch's last step."""

    def spoil(model: CharLSTM, config: TrainingConfig) -> None:
        if trainer.progress.step == 17:
            model.head.bias.grad = torch.full((4,), math.nan)

    monkeypatch.setattr(step, "clip_gradients", spoil)
    watcher, trainer = Watcher(), make(replace(BASE, final=final))
    with pytest.raises(TrainingError, match="weights are not finite after step 18"):
        trainer.run(watcher)
    assert watcher.saved_steps == [0, 9]


def test_a_stop_while_weights_are_not_finite_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: CharLSTM, config: TrainingConfig) -> None:
        model.head.bias.grad = torch.full((4,), math.nan)

    monkeypatch.setattr(step, "clip_gradients", spoil)
    watcher = Watcher(stop_when=lambda: True)
    with pytest.raises(TrainingError, match="after step 1:"):
        make().run(watcher)
    assert watcher.saved_steps == [0]


@pytest.mark.parametrize("at", [1, 8, 9, 10, 26, 27, 53, 54])
def test_a_run_stopped_after_any_step_ends_as_one_that_was_not(at: int) -> None:
    """27 and 54: the last step of an epoch, saved before its evaluation; 54 also of the run."""
    whole = make()
    whole.run(Watcher())
    stopped = make()
    watcher = Watcher(stop_when=lambda: stopped.progress.step == at)
    assert not stopped.run(watcher)
    assert watcher.saved is not None
    assert watcher.saved.progress.step == at
    resumed = make(progress=watcher.saved.progress)
    assert resumed.run(Watcher())
    assert_same(resumed.progress, whole.progress)


def test_a_run_whose_last_epoch_is_not_whole_ends_the_same_after_a_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Trainer, "_epochs_in_steps", lambda trainer: 21)
    whole = make()
    assert whole.run(Watcher())
    assert [record["epoch"] for record in whole.progress.metrics] == [1, 2, round(21 / 9, 4)]
    stopped = make()
    watcher = Watcher(stop_when=lambda: stopped.progress.step == 21)
    assert not stopped.run(watcher)
    assert watcher.saved is not None
    resumed = make(progress=watcher.saved.progress)
    resumed.run(Watcher())
    assert_same(resumed.progress, whole.progress)


def assert_same(one: Progress, other: Progress) -> None:
    for name, weights in one.weights.items():
        assert torch.equal(weights, other.weights[name]), name
    keys = ("step", "epoch", "train_bits", "validation_bits", "lr")
    for left, right in zip(one.metrics, other.metrics, strict=True):
        assert [left[key] for key in keys] == [right[key] for key in keys]
    assert (one.step, one.best_epoch, one.test_bits) == (
        other.step,
        other.best_epoch,
        other.test_bits,
    )


def test_minutes_fix_the_number_of_steps_once_and_a_resumed_run_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "steps_for", lambda **measured: 20)
    config = replace(BASE, epochs=None, minutes=0.001)
    first = make(config)
    watcher = Watcher(stop_when=lambda: first.progress.total_steps is not None)
    assert not first.run(watcher)
    assert watcher.saved is not None
    fixed = watcher.saved.progress.total_steps
    assert fixed == watcher.saved.progress.step + 20
    monkeypatch.setattr(loop, "steps_for", lambda **measured: pytest.fail("measured again"))
    resumed = make(config, progress=watcher.saved.progress)
    assert resumed.run(Watcher())
    assert resumed.progress.step == resumed.progress.total_steps == fixed


def test_a_stop_in_the_warm_up_measures_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "steps_for", lambda **measured: 20)
    config = replace(BASE, epochs=None, minutes=0.001)
    first = make(config)
    watcher = Watcher(stop_when=lambda: first.progress.step == 3)
    assert not first.run(watcher)
    assert watcher.saved is not None
    assert watcher.saved.progress.total_steps is None
    resumed = make(config, progress=watcher.saved.progress)
    assert resumed.run(Watcher())
    assert resumed.progress.step == resumed.progress.total_steps


def test_the_rate_is_low_while_the_budget_is_measured() -> None:
    trainer = make(replace(BASE, epochs=None, minutes=0.001))
    trainer.run(Watcher(stop_when=lambda: trainer.progress.step == 2))
    rates = [group["lr"] / group["peak"] for group in trainer.optimiser.param_groups]
    assert rates == pytest.approx([START] * len(rates))


def test_fewer_epochs_than_the_warm_up_has_taken_end_the_run() -> None:
    config = replace(BASE, epochs=None, minutes=1000.0)
    first = make(config)
    watcher = Watcher(stop_when=lambda: first.progress.step == 10)  # of nine steps an epoch
    assert not first.run(watcher)
    assert watcher.saved is not None
    resumed = make(replace(config, epochs=1), progress=watcher.saved.progress)
    assert resumed.run(Watcher())
    assert resumed.progress.epoch == 2


def test_epochs_bound_a_budget_of_minutes() -> None:
    long_warm_up = make(replace(BASE, epochs=1, minutes=1000.0))  # 9 steps, fewer than it needs
    rates: list[float] = []
    watcher = Watcher(stop_when=lambda: rates.append(rate_of(long_warm_up)) is not None)
    assert long_warm_up.run(watcher)
    assert long_warm_up.progress.step == 9
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
    monkeypatch.setattr(loop, "bits_per_character", lambda *_: float(next(rising)))
    trainer = make(replace(BASE, epochs=None, minutes=0.02, seq_len=90, patience=1))
    assert trainer.run(Watcher())
    assert trainer.progress.total_steps is not None
    assert trainer.schedule is not None


def test_minutes_where_an_epoch_is_one_step() -> None:
    trainer = make(replace(BASE, epochs=None, minutes=0.001, seq_len=269, patience=0))
    assert len(trainer.batches) == 1
    assert trainer.run(Watcher())
    assert trainer.progress.epoch == trainer.progress.step == trainer.progress.total_steps


def test_the_budget_leaves_time_for_evaluations() -> None:
    steps = steps_for(
        seconds_left=101, seconds_a_step=1, seconds_an_evaluation=10, steps_an_epoch=10
    )
    assert steps == 45  # 45 of training, 4.5 evaluations between, and the last one
    nothing_left = {"seconds_left": -1.0, "seconds_a_step": 1.0, "seconds_an_evaluation": 1.0}
    assert steps_for(**nothing_left, steps_an_epoch=3) == 1


def test_the_warm_up_leaves_the_first_steps_out() -> None:
    warm_up = WarmUp(minutes=10)
    slow_first = [warm_up.add(seconds) for seconds in [9.0] * 5 + [0.2] * 9]
    assert slow_first == [None] * 14
    assert warm_up.add(0.2) == pytest.approx(0.2)


def test_metrics_are_plain_json(tmp_path: Path) -> None:
    watcher = Watcher()
    make(replace(BASE, epochs=1)).run(watcher)
    assert json.loads(json.dumps(watcher.records)) == watcher.records
    assert set(watcher.records[0]) == {
        "step", "epoch", "train_bits", "validation_bits", "seconds", "characters_per_second",
        "lr",
    }  # fmt: skip


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
