"""How much a report measures."""

import pytest

from charlm.train.config import ModelConfig
from charlm.train.report.measure import choose_extent, seconds_for

MODEL = ModelConfig(62)


@pytest.mark.parametrize(
    ("trained", "seconds"), [(None, 60), (1, 5), (60, 6), (300, 30), (36_000, 60)]
)
def test_a_tenth_of_the_training_within_bounds(trained: float | None, seconds: float) -> None:
    assert seconds_for(trained) == seconds


def test_a_minute_reads_a_million_characters_and_all_that_is_held_out() -> None:
    found = choose_extent(MODEL, 2_600_000, 144_000, 60)
    assert (found.long, found.held_out) == (1_000_000, 144_000)
    assert (found.sample, found.compared) == (100_000, 2_600_000)


def test_less_time_and_larger_models_read_less() -> None:
    short, large = (
        choose_extent(MODEL, 10**7, 10**6, 10),
        choose_extent(ModelConfig(62, 1024), 10**7, 10**6, 60),
    )
    for found in (short, large):
        assert 1000 <= found.long < 250_000
        assert 1000 <= found.held_out <= max(1000, found.long // 4), "four laps"
    assert choose_extent(MODEL, 10**7, 10**6, 10, sample=5000).sample == 5000


def test_a_tiny_text_is_read_round() -> None:
    found = choose_extent(MODEL, 900, 50, 10)
    assert found.held_out == 50
    assert found.compared == 900
    assert found.long > 100_000
