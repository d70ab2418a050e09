"""The proof's own sampling against the definition, and what it excuses."""

import numpy as np
import pytest

from charlm.export.contract_siblings import GREEDY, TOP_P_OFF
from charlm.export.proof import reference_sampling
from charlm.export.proof.reference_sampling import Settings, due, excused, numbers
from charlm.infer.sampling.draw import Sampler, Sampling
from charlm.infer.sampling.filters import Filters

SHARES = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))


def alone(
    inverse: float = 1.0, top_k: int = 4, top_p: float = TOP_P_OFF, min_p: float = 0.0
) -> Settings:
    return Settings(
        np.array([inverse], np.float32),
        np.array([top_k]),
        np.array([top_p], np.float32),
        np.array([min_p], np.float32),
    )


def due_at(uniform: float, settings: Settings) -> int:
    return int(due(SHARES[None, None], np.array([[uniform]], np.float32), settings)[0, 0])


@pytest.mark.parametrize(
    ("uniform", "settings", "wanted"),
    [
        (0.49, alone(), 0),
        (0.51, alone(), 1),
        (0.74, alone(), 1),
        (0.76, alone(), 2),
        (0.99, alone(), 3),
        (0.99, alone(inverse=GREEDY), 0),
        (0.66, alone(top_k=2), 0),
        (0.67, alone(top_k=2), 1),
        (0.99, alone(top_k=3), 2),  # of equals the lowest id
        (0.99, alone(top_k=1), 0),
        (0.99, alone(top_p=0.4), 0),
        (0.99, alone(top_p=0.6), 1),  # the one that crosses stays
        (0.99, alone(top_k=2, top_p=0.6), 0),  # of what top-k leaves: 2/3 and 1/3
        (0.99, alone(min_p=0.4), 1),
        (0.99, alone(min_p=0.6), 0),
        (0.99, alone(inverse=2, min_p=0.3), 0),  # after the temperature
        (0.3, alone(inverse=0.001), 1),
    ],
)
def test_the_character_that_is_due(uniform: float, settings: Settings, wanted: int) -> None:
    assert due_at(uniform, settings) == wanted


def test_it_agrees_with_the_sampler_of_the_step_loop() -> None:
    """Written apart from each other; where float32 decides otherwise, a near-tie excuses it."""
    random = np.random.RandomState(0)
    batch, steps, size = 84, 40, 30
    logits = (random.standard_normal((batch, steps, size)) * 3).astype(np.float32)
    settings = Settings.mixed(batch, 0, 1, size, filters=True)
    uniform = numbers(random, settings, steps)
    inverse = settings.inverse_temperature
    temperatures = [0.0 if each == np.float32(GREEDY) else float(1 / each) for each in inverse]
    filters = [
        Filters(top_k, min(top_p, 1.0), min_p)
        for top_k, top_p, min_p in (reference_sampling.FILTERS[place % 7] for place in range(batch))
    ]
    wanted = due(logits, uniform, settings)
    different = 0
    for step in range(steps):
        sampling = Sampling.of(list(zip(temperatures, filters, strict=True)), size)
        drawn = Sampler(logits[:, step].copy(), sampling).draw(uniform[:, step])
        for stream in np.flatnonzero(drawn != wanted[:, step]):
            different += 1
            place = logits[stream, step], float(uniform[stream, step])
            assert excused(*place, int(drawn[stream]), settings, int(stream))
    assert different <= 3


@pytest.mark.parametrize(
    ("uniform", "drawn", "settings", "wanted"),
    [
        (0.5 - 1e-6, 1, alone(), True),
        (0.5 + 1e-6, 0, alone(), True),
        (0.5 - 1e-4, 1, alone(), False),
        (0.5 + 1e-4, 0, alone(), False),
        (0.5 + 1e-6, 2, alone(), False),  # across another boundary, which is far
        (0.25, 1, alone(), False),
        (0.7, 1, alone(inverse=2), False),
        # A hundredfold inverse temperature magnifies what the logits are off.
        (1 - 1e-3, 1, alone(inverse=100), True),
        (1 - 3e-3, 1, alone(inverse=100), False),
        # A removed character is never excused by u alone.
        (0.99999999, 2, alone(top_k=2), False),
        (0.999999, 1, alone(top_p=0.5 + 1e-6), True),
        (0.4, 1, alone(top_p=0.5 - 1e-4), False),
        (0.999999, 1, alone(top_p=0.5 - 1e-6), True),  # the threshold is near, it may stay
        (0.999999, 1, alone(top_p=0.5 - 1e-3), False),
        (0.99, 0, alone(min_p=0.5), True),  # half of the likeliest, exactly: it may go
        (0.99, 1, alone(min_p=0.5 + 1e-6), True),
        (0.99, 1, alone(min_p=0.5 + 1e-3), False),
        (0.99, 3, alone(top_k=3), True),  # as likely as the third
        (0.99, 2, alone(top_k=2), False),
        (0.5, 1, alone(inverse=GREEDY), False),
    ],
)
def test_what_is_excused(uniform: float, drawn: int, settings: Settings, wanted: bool) -> None:
    assert excused(SHARES, uniform, drawn, settings, 0) is wanted


def test_greedy_choice_is_excused_between_logits_that_are_nearly_equal() -> None:
    logits = np.array([1.0, 1.0 + 1e-5, 0.999], np.float32)
    assert excused(logits, 2**-24, 0, alone(inverse=GREEDY), 0)
    assert not excused(logits, 2**-24, 2, alone(inverse=GREEDY), 0)


def test_streams_are_mixed() -> None:
    settings = Settings.mixed(64, 0, 7, 62, filters=True)
    assert settings.greedy.sum() == 11
    pairs = zip(settings.inverse_temperature, settings.top_k, settings.top_p, strict=True)
    assert len(set(pairs)) > 30
    assert (settings.inverse_temperature < 0.1).any()
    longer = Settings.mixed(64, 0, 8, 62, filters=True)
    assert not (longer.inverse_temperature < 0.1).any()
    plain = Settings.mixed(64, 3, 7, 62, filters=False)
    assert (plain.top_k == 62).all()
    assert (plain.top_p == TOP_P_OFF).all()
    assert not plain.min_p.any()


def test_numbers_reach_both_ends() -> None:
    settings = Settings.mixed(64, 0, 1000, 62, filters=False)
    uniform = numbers(np.random.RandomState(0), settings, 1000)
    drawn = uniform[~settings.greedy]
    assert drawn.min() == np.float32(2**-24)
    assert drawn.max() == np.float32(1 - 2**-24)
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert (uniform[settings.greedy] == np.float32(2**-24)).all()
