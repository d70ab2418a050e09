from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from charlm.data.system.errors import SettingsError
from charlm.infer.sampling.filters import (
    TOP_P_OFF,
    Filters,
    remove_from_each,
    remove_from_one,
)

Floats = npt.NDArray[np.float32]

filters = st.builds(
    Filters,
    top_k=st.integers(0, 12),
    top_p=st.sampled_from([1.0, 0.9, 0.5, 1e-30]) | st.floats(1e-3, 1.0),
    min_p=st.sampled_from([0.0, 0.5, 1.0]) | st.floats(0, 1),
)
# Of few values, so that equals are common; 1 is always there, as after exp(logits - max).
weights_rows = hnp.arrays(
    np.float32,
    st.integers(1, 9),
    elements=st.sampled_from([0.0, 1e-40, 1e-6, 0.125, 0.25, 0.5, 1.0]) | st.floats(0, 1, width=32),
).map(lambda weights: np.append(weights, np.float32(1))[::-1].copy())


def removed(weights: list[float], given: Filters) -> list[float]:
    """What both forms leave of one stream's weights."""
    array = np.array(weights, dtype=np.float32)
    limits = given.limits(len(weights))
    each = array[None].copy()
    remove_from_each(each, *(np.array([limit]) for limit in limits))
    remove_from_one(array, *limits)
    assert array.tolist() == each[0].tolist()
    return array.tolist()


@pytest.mark.parametrize(
    ("settings", "weights", "left"),
    [
        ({}, [0.25, 1, 0.5], [0.25, 1, 0.5]),
        # top-k, and ties at its edge: the lowest id stays
        ({"top_k": 1}, [0.25, 1, 0.5], [0, 1, 0]),
        ({"top_k": 2}, [0.25, 1, 0.5], [0, 1, 0.5]),
        ({"top_k": 3}, [0.25, 1, 0.5], [0.25, 1, 0.5]),
        ({"top_k": 99}, [0.25, 1, 0.5], [0.25, 1, 0.5]),
        ({"top_k": 1}, [1, 1, 1], [1, 0, 0]),
        ({"top_k": 2}, [0.5, 1, 0.5], [0.5, 1, 0]),
        # top-p: of 0.25, 0.5 and 0.25; what crosses the share stays, what comes after goes
        ({"top_p": 0.4}, [0.5, 1, 0.5], [0, 1, 0]),
        ({"top_p": 0.5}, [0.5, 1, 0.5], [0, 1, 0]),
        ({"top_p": 0.51}, [0.5, 1, 0.5], [0.5, 1, 0]),
        ({"top_p": 0.75}, [0.5, 1, 0.5], [0.5, 1, 0]),
        ({"top_p": 0.76}, [0.5, 1, 0.5], [0.5, 1, 0.5]),
        ({"top_p": 1.0}, [0.5, 1, 0.5], [0.5, 1, 0.5]),
        ({"top_p": 1e-30}, [1, 1, 1], [1, 0, 0]),
        # min-p: as likely as its share of the likeliest stays, with all its equals
        ({"min_p": 0.5}, [0.25, 1, 0.5], [0, 1, 0.5]),
        ({"min_p": 0.51}, [0.25, 1, 0.5], [0, 1, 0]),
        ({"min_p": 0.25}, [0.25, 1, 0.5], [0.25, 1, 0.5]),
        ({"min_p": 1.0}, [1, 0.5, 1], [1, 0, 1]),
        # together: top-p's shares are those of what top-k left (2/3 and 1/3, not 4/7 and 2/7)
        ({"top_k": 2, "top_p": 0.6}, [0.25, 1, 0.5], [0, 1, 0]),
        ({"top_p": 0.6}, [0.25, 1, 0.5], [0, 1, 0.5]),
        ({"top_k": 2, "top_p": 0.7}, [0.25, 1, 0.5], [0, 1, 0.5]),
        ({"top_k": 1, "top_p": 0.99}, [0.25, 1, 0.5], [0, 1, 0]),
        ({"top_k": 2, "min_p": 0.1}, [0.25, 1, 0.5], [0, 1, 0.5]),
        ({"top_k": 2, "min_p": 0.6}, [0.25, 1, 0.5], [0, 1, 0]),
        ({"top_k": 1, "min_p": 1.0}, [1, 0.5, 1], [1, 0, 0]),
        # min-p sees what top-p left, and the shares of top-p are not those that min-p leaves
        ({"top_p": 0.9, "min_p": 0.3}, [0.25, 1, 0.5], [0, 1, 0.5]),
        ({"top_p": 0.5, "min_p": 0.3}, [0.25, 1, 0.5], [0, 1, 0]),
        ({"top_p": 0.6, "min_p": 0.3}, [0.25, 1, 0.5], [0, 1, 0.5]),
        ({"top_k": 2, "top_p": 0.7, "min_p": 0.6}, [0.25, 1, 0.5], [0, 1, 0]),
        ({"top_k": 2, "top_p": 0.7, "min_p": 0.5}, [0.25, 1, 0.5], [0, 1, 0.5]),
    ],
)
def test_three_numbers_by_hand(
    settings: dict[str, Any], weights: list[float], left: list[float]
) -> None:
    assert removed(weights, Filters(**settings)) == left


@given(weights_rows, filters)
def test_what_is_kept_is_what_exact_arithmetic_keeps(weights: Floats, given: Filters) -> None:
    """The textbook's probabilities as fractions, wherever no threshold is within rounding."""
    exact = [Fraction(float(each)) for each in weights]
    order = sorted(range(len(exact)), key=lambda k: (-exact[k], k))
    kept = order[: given.top_k or None]
    shares = [exact[k] / sum(exact[j] for j in kept) for k in kept]
    before = [sum(shares[:rank], Fraction(0)) for rank in range(len(kept))]
    if given.top_p < 1:
        bound = Fraction(given.top_p)
        assume(all(abs(each - bound) > Fraction(1, 10**6) for each in before if each))
        kept = [k for k, each in zip(kept, before, strict=True) if each < bound]
    least = Fraction(given.min_p) * exact[order[0]]
    assume(all(each == least or abs(each - least) > least / 10**6 for each in exact))
    assume(given.min_p in (0, 1) or least > Fraction(1, 10**30))
    kept = [k for k in kept if exact[k] >= least]
    left = removed(weights.tolist(), given)
    assert left == [each if k in kept else 0 for k, each in enumerate(weights.tolist())]


@given(
    hnp.arrays(np.float32, (7, 12), elements=st.sampled_from([0, 0.1, 0.25, 0.5, 1.0])),
    st.lists(filters, min_size=7, max_size=7),
)
def test_each_stream_has_its_own_filters(weights: Floats, given: list[Filters]) -> None:
    weights[:, 5] = 1
    found = weights.copy()
    limits = zip(*(each.limits(12) for each in given), strict=True)
    remove_from_each(found, *(np.array(column) for column in limits))
    for row, each, left in zip(weights, given, found, strict=True):
        assert removed(row.tolist(), each) == left.tolist()


def test_off_is_exactly_off() -> None:
    """Also where the tail is so thin that float32's sum does not see it."""
    weights = np.full(5000, 1e-9, dtype=np.float32)
    weights[7] = 1
    for off in (Filters(), Filters(0, 1.0, 0.0), Filters(5000), Filters(top_p=1 - 1e-12)):
        assert removed(weights.tolist(), off) == weights.tolist()
    assert Filters().limits(62) == (62, TOP_P_OFF, 0)
    assert removed(weights.tolist(), Filters(top_p=0.999)).count(0) == 4999


@pytest.mark.parametrize(
    ("settings", "saying"),
    [
        ({"top_k": -1}, r"`top_k` is a whole number from 1, or 0 \(off\), not -1"),
        ({"top_k": 2.5}, "`top_k` is a whole number"),
        ({"top_k": float("nan")}, "`top_k` is a whole number"),
        ({"top_k": float("inf")}, "`top_k` is a whole number"),
        ({"top_p": 0.0}, r"`top_p` is above 0 \(from 1e-30\) to 1 \(off\), not 0\.0"),
        ({"top_p": -0.1}, "`top_p`"),
        ({"top_p": 1.01}, "`top_p`"),
        ({"top_p": 1e-46}, "`top_p`"),
        ({"top_p": float("nan")}, "`top_p`"),
        ({"min_p": -0.1}, r"`min_p` is from 0 \(off\) to 1, not -0\.1"),
        ({"min_p": 1.01}, "`min_p`"),
        ({"min_p": float("nan")}, "`min_p`"),
    ],
)
def test_a_filter_out_of_range_is_refused(settings: dict[str, Any], saying: str) -> None:
    with pytest.raises(SettingsError, match=saying):
        Filters(**settings)
