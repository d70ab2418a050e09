import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from charlm.data.system.errors import SettingsError
from charlm.infer.sampling import sampler
from charlm.infer.sampling.sampler import Sampler

Floats = npt.NDArray[np.float32]
ChiSquare = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[float, float]]
TEMPERATURES = (0.0, 1e-29, 0.01, 0.5, 0.7, 1.0, 1.3, 5.0, 1e29)

words = st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**64 - 1])
temperatures = st.sampled_from(TEMPERATURES) | st.floats(0.05, 20)
logits_rows = hnp.arrays(
    np.float32,
    st.integers(1, 70),
    elements=st.floats(-30, 30, width=32) | st.sampled_from([0.0, -1e5, 1e5, 88.0, -104.0]),
)


def slow_uniform(word: int) -> np.float32:
    return np.float32((word >> 41) + 0.5) * np.float32(2**-23)


def slow_draw(logits: Floats, uniform: np.float32, temperature: float) -> tuple[int, np.float32]:
    """The definition, a float32 at a time; the character and its e."""
    top = max(logits)
    if temperature == 0:
        return next(k for k, logit in enumerate(logits) if logit == top), np.float32(1)
    inverse = np.float32(1 / temperature)
    e = [np.exp(np.float32(np.float32(logit - top) * inverse)) for logit in logits]
    sums: list[np.float32] = []
    for each in e:
        sums.append(np.float32((sums[-1] if sums else np.float32(0)) + each))
    bound = np.float32(uniform * sums[-1])
    chosen = next(k for k, total in enumerate(sums) if total >= bound)
    return chosen, e[chosen]


@given(logits_rows, words, temperatures)
def test_draws_follow_the_definition(logits: Floats, word: int, temperature: float) -> None:
    uniform = slow_uniform(word)
    wanted, weight = slow_draw(logits, uniform, temperature)
    assert weight > 0
    drawer = Sampler(logits[None], temperature)
    assert drawer.draw_one(uniform) == wanted
    assert drawer.draw(np.array([uniform])).tolist() == [wanted]


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_thousands_of_draws_follow_the_definition(temperature: float) -> None:
    random = np.random.RandomState(7)
    logits = (random.standard_normal((1000, 62)) * 4).astype(np.float32)
    uniforms = np.array([slow_uniform(int(word)) for word in random.randint(0, 2**63, 1000)])
    found = Sampler(logits, temperature).draw(uniforms)
    wanted = [slow_draw(*pair, temperature)[0] for pair in zip(logits, uniforms, strict=True)]
    assert found.tolist() == wanted
    assert found.dtype == np.int64


@given(
    hnp.arrays(np.float32, (4, 9), elements=st.floats(-20, 20, width=32)),
    st.lists(words, min_size=4, max_size=4),
    temperatures,
)
def test_draw_one_equals_draw(logits: Floats, drawn: list[int], temperature: float) -> None:
    uniforms = np.array([slow_uniform(word) for word in drawn])
    together = Sampler(logits, temperature).draw(uniforms).tolist()
    for row, uniform, wanted in zip(logits, uniforms, together, strict=True):
        assert Sampler(row[None], temperature).draw_one(uniform) == wanted


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("word", [0, 2**64 - 1])
def test_a_character_without_weight_is_never_drawn(word: int, temperature: float) -> None:
    """Not even at the very ends of the unit interval."""
    logits = np.full((1, 9), -1e4, dtype=np.float32)
    logits[0, 4] = 0
    uniform = slow_uniform(word)
    assert Sampler(logits, temperature).draw_one(uniform) == 4
    assert Sampler(logits, temperature).draw(np.array([uniform])) == [4]
    assert sampler.draw_initial(np.exp(logits[0]), uniform, temperature) == 4


def test_greedy_takes_the_lowest_of_ties() -> None:
    logits = np.array([[1, 5, 2, 5, 5], [3, 3, 0, 0, 3]], dtype=np.float32)
    drawer = Sampler(logits, 0)
    assert drawer.draw_one(np.float32(0.999)) == 1
    assert drawer.draw(np.array([0.999, 0.999], dtype=np.float32)).tolist() == [1, 0]
    assert sampler.draw_initial(logits[0], np.float32(0.999), 0) == 1


def test_cold_draws_are_greedy_and_hot_ones_even(chi_square: ChiSquare) -> None:
    logits = np.array([[0.0, 0.3, 0.1, 0.2]], dtype=np.float32)
    uniforms = list(itertools.islice(sampler.uniforms(1, 0), 4000))
    cold = Sampler(logits, 1e-4)
    assert {cold.draw_one(uniform) for uniform in uniforms} == {1}
    hot = Sampler(logits, 1e6)
    counts = np.bincount([hot.draw_one(uniform) for uniform in uniforms], minlength=4)
    found, quantile = chi_square(counts, [1, 1, 1, 1])
    assert found < quantile


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_the_distribution(
    temperature: float, chi_square: ChiSquare
) -> None:
    shares = np.array([0.4, 0.01, 0.0, 0.25, 0.04, 0.3])
    with np.errstate(divide="ignore"):
        logits = np.log(shares).astype(np.float32)[None]
    drawer = Sampler(logits, temperature)
    uniforms = itertools.islice(sampler.uniforms(3, 0), 20_000)
    counts = np.bincount([drawer.draw_one(uniform) for uniform in uniforms], minlength=6)
    found, quantile = chi_square(counts, shares ** (1 / temperature))
    assert found < quantile
    wrong, _ = chi_square(counts, shares ** (1.1 / temperature))
    assert wrong > quantile, "the test can tell temperatures apart"


def test_initial_frequencies_are_drawn_whatever_the_temperature(chi_square: ChiSquare) -> None:
    initial = np.array([0.5, 0.0, 0.2, 0.3], dtype=np.float32)
    uniforms = list(itertools.islice(sampler.uniforms(5, 0), 5000))
    drawn = [sampler.draw_initial(initial, uniform, 1.0) for uniform in uniforms]
    assert drawn == [sampler.draw_initial(initial, uniform, 0.2) for uniform in uniforms]
    found, quantile = chi_square(np.bincount(drawn, minlength=4), initial)
    assert found < quantile


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_the_callers_logits_are_unchanged(temperature: float) -> None:
    logits = np.random.RandomState(0).standard_normal((3, 8)).astype(np.float32)
    before = logits.copy()
    drawer = Sampler(logits, temperature)
    drawer.draw_one(np.float32(0.5))
    drawer.draw(np.full(3, 0.5, dtype=np.float32))
    np.testing.assert_array_equal(logits, before)


def test_logits_are_read_anew_at_each_draw() -> None:
    logits = np.array([[9, 0, 0]], dtype=np.float32)
    drawer = Sampler(logits, 0.1)
    assert drawer.draw_one(np.float32(0.5)) == 0
    logits[:] = [[0, 0, 9]]
    assert drawer.draw_one(np.float32(0.5)) == 2


@pytest.mark.parametrize("temperature", [-1.0, 1e-30, 1e-300, 1e30, float("inf"), float("nan")])
def test_an_impossible_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(SettingsError, match="--temperature is 0"):
        sampler.inverse_temperature(temperature)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_an_impossible_seed_or_sample_is_refused(number: int) -> None:
    with pytest.raises(SettingsError, match="--seed"):
        sampler.check_seed(number)
    with pytest.raises(SettingsError, match="a sample"):
        sampler.check_sample(number)


def test_drawn_seeds_differ_and_are_seeds() -> None:
    seeds = {sampler.draw_seed() for _ in range(50)}
    assert len(seeds) > 40
    for seed in seeds:
        sampler.check_seed(seed)
