"""Epochs, dropout and decay by the size of the corpus; limits of length, in a run or anew."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from charlm.data.system.errors import SettingsError
from charlm.data.text.corpus import Splits
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.loop.evaluate import JUDGED
from charlm.train.model import CharLSTM
from charlm.train.setup import budget, defaults
from charlm.train.setup.start import training_config


@pytest.mark.parametrize(
    ("vocabulary", "characters", "passes"),
    [
        (60, 1_000, 40),
        (60, 150_000, 40),
        (60, 300_000, 20),
        (60, 1_200_000, 20),
        (60, 2_600_000, 9),
        (60, 24_000_000, 1),
        (60, 10**9, 1),
        (512, 100_000, 40),
        (3795, 100_000, 5),
        (3795, 1_675_000, 5),
        (3795, 16_750_000, 1),
    ],
)
def test_a_small_text_is_read_often_and_a_large_one_once(
    vocabulary: int, characters: int, passes: int
) -> None:
    model = ModelConfig(vocabulary)
    assert defaults.epochs(model, characters) == passes
    assert defaults.fill_in(model, TrainingConfig(), characters)[1].epochs == passes


@pytest.mark.parametrize(
    ("hidden", "characters", "share"),
    [
        (192, 100_000, 0.35),
        (192, 300_000, 0.15),
        (192, 1_470_000, 0.05),
        (192, 1_480_000, 0.0),
        (512, 2_600_000, 0.15),
        (512, 100_000_000, 0.0),
    ],
)
def test_dropout_goes_by_the_weights_for_a_character(
    hidden: int, characters: int, share: float
) -> None:
    model = defaults.fill_in(ModelConfig(60, hidden), TrainingConfig(), characters)[0]
    assert model.dropout == share


@pytest.mark.parametrize(
    ("vocabulary", "characters", "share", "decay"),
    [
        (73, 95_000, 0.35, 0.015),
        (83, 600_000, 0.1, 0.003),
        (62, 2_738_000, 0.0, 0.0),
        (3795, 400_000, 0.25, 0.1),
        (3795, 1_675_000, 0.35, 0.044),
        (3795, 160_000_000, 0.0, 0.0),
    ],
)
def test_what_characters_own_is_held_back_as_it_is_much_for_the_text(
    vocabulary: int, characters: int, share: float, decay: float
) -> None:
    model, training = defaults.fill_in(ModelConfig(vocabulary, 192), TrainingConfig(), characters)
    assert (model.output_dropout, training.weight_decay) == (share, decay)


@pytest.mark.parametrize(
    ("characters", "passes", "share"),
    [
        (95_000, 2, 0.0),
        (95_000, 4, 0.05),
        (95_000, 16, 0.2),
        (95_000, 30, 0.35),
        (10_000, 30, 0.35),
        (600_000, 5, 0.1),
        (600_000, 1, 0.0),
    ],
)
def test_few_passes_over_a_short_text_repay_less_dropout(
    characters: int, passes: int, share: float
) -> None:
    for limits in ({"epochs": passes}, {"minutes": 1.0, "passes": passes}):
        training = TrainingConfig(**limits)  # type: ignore[arg-type]
        assert defaults.fill_in(ModelConfig(75), training, characters)[0].dropout == share
    fewer = TrainingConfig(minutes=1.0, passes=passes, epochs=1)
    assert defaults.fill_in(ModelConfig(75), fewer, characters)[0].dropout < max(share, 0.05)


def test_weights_are_counted_as_the_model_has_them() -> None:
    model = CharLSTM(ModelConfig(7, hidden=12, layers=3))
    between = sum(matrix.numel() for matrix in model.hidden_to_hidden())
    assert defaults.weights(model.config) == between
    own = model.lstm.weight_ih_l0.numel() + model.head.weight.numel()
    assert defaults.own_weights(model.config) == own


def test_what_was_said_stays() -> None:
    model = ModelConfig(60, 192, dropout=0.1, output_dropout=0.2)
    training = TrainingConfig(epochs=3, weight_decay=0.3)
    said = defaults.HELD_BACK
    assert defaults.fill_in(model, training, 100_000, said=said) == (model, training)
    longer = replace(training, epochs=30)
    filled, _ = defaults.fill_in(model, longer, 50_000, said={"dropout"})
    assert (filled.dropout, filled.output_dropout) == (0.1, 0.35)
    _, timed = defaults.fill_in(ModelConfig(60), TrainingConfig(minutes=1.0), 100_000)
    assert timed.epochs is None, "minutes leave them open"
    notebook = TrainingConfig(recipe="notebook", epochs=10)
    assert defaults.fill_in(ModelConfig(60), notebook, 100_000) == (ModelConfig(60), notebook)


def test_a_model_beyond_the_machines_memory_is_refused() -> None:
    model = ModelConfig(60, 8192)
    with pytest.raises(SettingsError, match=r"`hidden` 8192 `layers` 1 takes 5 GiB .* has 1: "):
        defaults.check_fits(model, 1 << 30)
    defaults.check_fits(model, 6 << 30)
    defaults.check_fits(model, None)


@pytest.mark.parametrize(
    ("base", "said", "limits"),
    [
        ({"minutes": 1.0}, {"epochs": 20}, (20, None)),
        ({"epochs": 3}, {"minutes": 5.0}, (None, 5.0)),
        ({"epochs": 3, "minutes": 1.0}, {"epochs": 20}, (20, 1.0)),
        ({"minutes": 1.0}, {"epochs": 20, "minutes": 9.0}, (20, 9.0)),
        ({"minutes": 1.0}, {}, (None, 1.0)),
    ],
)
def test_a_run_goes_on_by_the_limit_that_is_named_last(
    base: dict[str, float], said: dict[str, float], limits: tuple[int | None, float | None]
) -> None:
    found = training_config({"device": "cpu", **said}, TrainingConfig(**base), begun=True)  # type: ignore[arg-type]
    assert (found.epochs, found.minutes) == limits


# How often a budget of minutes lets a text be read, by a guess

IDS = np.tile(np.arange(4, dtype=np.uint8), 1202)
SPLITS = Splits(IDS[:4801], IDS[:409], IDS[:409])  # 40 steps of 4 x 30, and a validation of a tenth
MODEL = ModelConfig(4, hidden=8)
MINUTE = TrainingConfig(minutes=1.0, batch_size=4, seq_len=30)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by an eighth of a second whenever it is looked at."""
    looks = count()
    monkeypatch.setattr("time.perf_counter", lambda: next(looks) / 8)


@pytest.mark.usefixtures("clock")
def test_minutes_become_passes() -> None:
    def passes(splits: Splits = SPLITS, **changes: float) -> int:
        return budget.guess_passes(MODEL, replace(MINUTE, **changes), splits)  # type: ignore[arg-type]

    # Steps of 1/8 s, and 1/8 s for 4,096 characters of validation: 5 + 1/80 s an epoch.
    assert passes() == 12
    assert passes(minutes=10.0) == 120
    assert passes(minutes=0.001) == 1
    much = SPLITS._replace(validation=np.resize(IDS, 400 * 409))  # 5 s
    assert passes(much) == 6
    assert passes(much, final=True) == 12
    longest, longer = (  # of which no more than is scored takes time
        SPLITS._replace(validation=np.zeros(times * JUDGED, dtype=np.uint8)) for times in (1, 10)
    )
    assert passes(longer, minutes=60.0) == passes(longest, minutes=60.0) > 1


@pytest.mark.usefixtures("clock")
def test_each_process_has_its_share_of_a_guessed_step() -> None:
    seen: set[int] = set()

    def note(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, CharLSTM) and module.training:
            seen.add(given[0].shape[1])

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    assert budget.guess_passes(MODEL, MINUTE, SPLITS, processes=2) == 12
    hook.remove()
    assert seen == {2}


def test_the_budget_leaves_time_for_evaluations() -> None:
    steps = budget.steps_for(
        seconds_left=101, seconds_a_step=1, seconds_an_evaluation=10, steps_an_epoch=10
    )
    assert steps == 45  # 45 of training, 4.5 evaluations between, and the last one
    nothing_left = {"seconds_left": -1.0, "seconds_a_step": 1.0, "seconds_an_evaluation": 1.0}
    assert budget.steps_for(**nothing_left, steps_an_epoch=3) == 1


def test_the_warm_up_leaves_the_first_steps_out() -> None:
    warm_up = budget.WarmUp(minutes=10)
    slow_first = [warm_up.add(seconds) for seconds in [9.0] * 5 + [0.2] * 9]
    assert slow_first == [None] * 14
    assert warm_up.add(0.2) == pytest.approx(0.2)
