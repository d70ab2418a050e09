"""What a request, defaults and a run's own settings make together."""

import pytest

from charlm.train import settle
from charlm.train.config import TrainingConfig
from charlm.train.settle import WORTH_THREADS, training_config

CPU = {"device": "cpu"}


def test_the_threads_of_a_new_run_are_those_worth_it_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(**options: object) -> int:
        return training_config(CPU | options, TrainingConfig()).threads

    monkeypatch.setattr(settle, "usable_cores", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads() == WORTH_THREADS
    monkeypatch.setattr(settle, "usable_cores", lambda: 1)
    assert threads() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads() == 3
    assert threads(threads=5) == 5
    begun = TrainingConfig(threads=7)
    assert training_config(CPU, begun, begun=True).threads == 7, "a run keeps its own, bit for bit"


def test_a_run_goes_on_by_the_limit_that_is_named_last() -> None:
    by_minutes = TrainingConfig(epochs=None, minutes=1.0)
    by_epochs = TrainingConfig(epochs=3)
    by_both = TrainingConfig(epochs=3, minutes=1.0)

    def limits(base: TrainingConfig, **said: object) -> tuple[int | None, float | None]:
        found = training_config(CPU | said, base, begun=True)
        return found.epochs, found.minutes

    assert limits(by_minutes, epochs=20) == (20, None)
    assert limits(by_epochs, minutes=5.0) == (None, 5.0)
    assert limits(by_both, epochs=20) == (20, 1.0)
    assert limits(by_minutes, epochs=20, minutes=9.0) == (20, 9.0)
    assert limits(by_minutes) == (None, 1.0)
