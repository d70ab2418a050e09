"""Medians, spreads, ratios and rounding, with numbers known beforehand."""

import pytest

from charlm.benchmarks.spread import Spread, ratios, significant


def test_spread_of_an_odd_number_of_trials() -> None:
    assert Spread.of([5.0, 1.0, 3.0]) == Spread(3.0, 1.0, 5.0)


def test_spread_of_an_even_number_of_trials() -> None:
    assert Spread.of([4.0, 1.0, 2.0, 10.0]) == Spread(3.0, 1.0, 10.0)


def test_no_trials_have_no_spread() -> None:
    assert Spread.of([]) is None


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([10.0, 40.0], [5.0, 4.0]) == [2.0, 10.0]


def test_ratios_of_unequal_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(123456.0, 123000.0), (0.00123456, 0.00123), (-98765.0, -98800.0), (0.0, 0.0)],
)
def test_significant_digits(value: float, rounded: float) -> None:
    assert significant(value, 3) == pytest.approx(rounded, rel=1e-12)
