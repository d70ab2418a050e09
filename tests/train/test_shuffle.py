"""Orders of many things."""

import numpy as np
import pytest

from charlm.train.batches import windows
from charlm.train.batches.windows import Order

LENGTHS = [1, 2, 3, 17, 255, 256, 257, 1000]


@pytest.mark.parametrize("length", LENGTHS)
def test_few_are_in_numpys_order(length: int) -> None:
    expected = np.random.default_rng((4, 2)).permutation(np.arange(length))
    assert Order(length, (4, 2))[:].tolist() == expected.tolist()


@pytest.mark.parametrize("length", LENGTHS)
def test_of_many_each_comes_once(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LISTED", 0)
    whole = Order(length, (4, 2))[:]
    assert whole.dtype == np.int64
    assert sorted(whole.tolist()) == list(range(length))
    parts = [Order(length, (4, 2))[start : start + 7] for start in range(0, length, 7)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_many_are_well_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of neighbours, as many rise as fall, and they are a third of the whole apart."""
    monkeypatch.setattr(windows, "LISTED", 0)
    places = Order(100_000, (0, 0))[:]
    assert np.mean(np.diff(places) > 0) == pytest.approx(0.5, abs=0.01)
    assert np.mean(np.abs(np.diff(places))) == pytest.approx(100_000 / 3, rel=0.02)
    assert np.corrcoef(places, np.arange(100_000))[0, 1] == pytest.approx(0, abs=0.02)


def test_seeds_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "LISTED", 0)
    orders = {tuple(Order(1000, seed)[:]) for seed in [(0, 0), (0, 1), (1, 0)]}
    assert len(orders) == 3


def test_many_take_no_memory() -> None:
    order = Order(10**12, (0, 0))
    found = order[10**11 : 10**11 + 1000]
    assert len(set(found.tolist())) == 1000
    assert found.max() < 10**12
