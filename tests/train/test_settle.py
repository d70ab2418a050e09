"""What a request, defaults and a run's own settings make together."""

from charlm.train.config import TrainingConfig
from charlm.train.setup.settle import training_config

CPU = {"device": "cpu"}


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
