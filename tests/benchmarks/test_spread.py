"""Medians, spreads, ratios and rounding, with numbers known beforehand."""

import pytest

from charlm.benchmarks.report.results import Spread, ratios, rounded, significant


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
    ("trials", "unstable"),
    [
        ([100.0, 149.0], False),  # of two trials only the ends say something
        ([100.0, 151.0], True),
        ([100.0, 101.0, 102.0, 103.0, 120.0], False),
        ([100.0, 100.0, 110.0, 120.0, 120.0], True),  # the middle half spans 20 of 110
    ],
)
def test_wide_quartiles_or_ends_are_unstable(trials: list[float], unstable: bool) -> None:
    spread = Spread.of(trials)
    assert spread is not None
    assert spread.unstable is unstable


def test_what_a_report_holds_is_rounded() -> None:
    assert rounded([1.2345678, 2.0], 10) == (12.346, 20.0)


@pytest.mark.parametrize(
    ("value", "rounded_to"),
    [(123456.0, 123000.0), (0.00123456, 0.00123), (-98765.0, -98800.0), (0.0, 0.0)],
)
def test_significant_digits(value: float, rounded_to: float) -> None:
    assert significant(value, 3) == pytest.approx(rounded_to, rel=1e-12)
