"""Epochs and dropout by the size of the corpus."""

import pytest

from charlm.train import scale
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.model import CharLSTM


@pytest.mark.parametrize(
    ("characters", "passes"),
    [(100_000, 20), (1_200_000, 20), (2_600_000, 9), (24_000_000, 1), (10**9, 1)],
)
def test_a_small_text_is_read_often_and_a_large_one_once(characters: int, passes: int) -> None:
    assert scale.epochs(characters) == passes


def test_thousands_of_characters_are_not_learnt_by_heart() -> None:
    def passes(vocabulary: int, characters: int) -> int | None:
        model = ModelConfig(vocabulary, 192)
        return scale.settle(model, TrainingConfig(), characters, dropout_said=False)[1].epochs

    assert passes(512, 1_675_000) == 14
    assert passes(3795, 1_675_000) == 2
    assert passes(3795, 16_750_000) == 1
    assert passes(3795, 100_000) == 1


@pytest.mark.parametrize(
    ("hidden", "characters", "share"),
    [
        (192, 100_000, 0.35),
        (192, 300_000, 0.15),
        (192, 2_600_000, 0.0),
        (512, 2_600_000, 0.15),
        (512, 100_000_000, 0.0),
    ],
)
def test_dropout_goes_by_the_weights_for_a_character(
    hidden: int, characters: int, share: float
) -> None:
    assert scale.dropout(ModelConfig(60, hidden), characters) == share


def test_weights_are_the_models_own() -> None:
    config = ModelConfig(7, hidden=12, layers=3)
    counted = sum(matrix.numel() for matrix in CharLSTM(config).hidden_to_hidden())
    assert scale.weights(config) == counted


def test_what_was_said_stays() -> None:
    said = ModelConfig(60, 192, dropout=0.1), TrainingConfig(epochs=3)
    assert scale.settle(*said, 100_000, dropout_said=True) == said


def test_a_budget_of_minutes_leaves_the_epochs_open() -> None:
    _, training = scale.settle(
        ModelConfig(60), TrainingConfig(minutes=1.0), 100_000, dropout_said=False
    )
    assert training.epochs is None


def test_the_notebooks_recipe_has_no_dropout() -> None:
    notebook = TrainingConfig(recipe="notebook", epochs=10)
    model, _ = scale.settle(ModelConfig(60), notebook, 100_000, dropout_said=False)
    assert model.dropout == 0.0
