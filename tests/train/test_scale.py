"""Epochs, dropout and weight decay by the size of the corpus."""

from dataclasses import replace

import pytest

from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.model import CharLSTM
from charlm.train.setup import scale


@pytest.mark.parametrize(
    ("vocabulary", "characters", "passes"),
    [
        (60, 1_000, 40),
        (60, 100_000, 40),
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
    assert scale.epochs(model, characters) == passes
    assert scale.settle(model, TrainingConfig(), characters)[1].epochs == passes


@pytest.mark.parametrize(
    ("hidden", "characters", "share"),
    [
        (192, 100_000, 0.35),
        (192, 300_000, 0.15),
        (192, 1_092_000, 0.05),
        (192, 1_470_000, 0.05),
        (192, 1_480_000, 0.0),
        (192, 2_600_000, 0.0),
        (512, 2_600_000, 0.15),
        (512, 100_000_000, 0.0),
    ],
)
def test_dropout_goes_by_the_weights_for_a_character(
    hidden: int, characters: int, share: float
) -> None:
    model = scale.settle(ModelConfig(60, hidden), TrainingConfig(), characters)[0]
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
    model, training = scale.settle(ModelConfig(vocabulary, 192), TrainingConfig(), characters)
    assert (model.output_dropout, training.weight_decay) == (share, decay)


def test_weights_are_the_models_own() -> None:
    config = ModelConfig(7, hidden=12, layers=3)
    counted = sum(matrix.numel() for matrix in CharLSTM(config).hidden_to_hidden())
    assert scale.weights(config) == counted


def test_own_weights_are_of_the_input_and_the_head() -> None:
    model = CharLSTM(ModelConfig(7, hidden=12))
    counted = model.lstm.weight_ih_l0.numel() + model.head.weight.numel()
    assert scale.own_weights(model.config) == counted


def test_what_was_said_stays() -> None:
    model = ModelConfig(60, 192, dropout=0.1, output_dropout=0.2)
    training = TrainingConfig(epochs=3, weight_decay=0.3)
    assert scale.settle(model, training, 100_000, said=scale.HELD_BACK) == (model, training)
    settled, _ = scale.settle(model, replace(training, epochs=30), 50_000, said={"dropout"})
    assert (settled.dropout, settled.output_dropout) == (0.1, 0.35)


@pytest.mark.parametrize(
    ("characters", "passes", "share"),
    [
        (95_000, 2, 0.0),
        (95_000, 4, 0.05),
        (95_000, 8, 0.1),
        (95_000, 16, 0.2),
        (95_000, 20, 0.25),
        (95_000, 30, 0.35),
        (10_000, 30, 0.35),
        (600_000, 5, 0.1),
        (600_000, 3, 0.05),
        (600_000, 1, 0.0),
    ],
)
def test_few_passes_over_a_short_text_repay_less_dropout(
    characters: int, passes: int, share: float
) -> None:
    by_epochs = TrainingConfig(epochs=passes)
    assert scale.settle(ModelConfig(75), by_epochs, characters)[0].dropout == share
    by_minutes = TrainingConfig(minutes=1.0, passes=passes)
    assert scale.settle(ModelConfig(75), by_minutes, characters)[0].dropout == share
    fewer = TrainingConfig(minutes=1.0, passes=passes, epochs=1)
    assert scale.settle(ModelConfig(75), fewer, characters)[0].dropout < max(share, 0.05)


def test_a_budget_of_minutes_leaves_the_epochs_open() -> None:
    _, training = scale.settle(ModelConfig(60), TrainingConfig(minutes=1.0), 100_000)
    assert training.epochs is None


def test_the_notebooks_recipe_is_left_as_it_is() -> None:
    notebook = TrainingConfig(recipe="notebook", epochs=10)
    assert scale.settle(ModelConfig(60), notebook, 100_000) == (ModelConfig(60), notebook)
