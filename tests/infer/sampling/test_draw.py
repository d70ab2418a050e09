"""Drawing one character, against the definition: temperatures, filters, whole batches."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from charlm.data.system.errors import SettingsError
from charlm.export.contract import GREEDY_UNIFORM
from charlm.infer.request import Request, draw_seed
from charlm.infer.sampling import draw, philox
from charlm.infer.sampling.draw import Sampler, Sampling
from charlm.infer.sampling.filters import Filters, inverse_temperature
from charlm.infer.sampling.philox import UniformStream

Floats = npt.NDArray[np.float32]
ChiSquare = Callable[[npt.ArrayLike, npt.ArrayLike], tuple[float, float]]
TEMPERATURES = (0.0, 1e-29, 0.01, 0.5, 0.7, 1.0, 1.3, 5.0, 1e29)


def slow_uniform(word: int) -> np.float32:
    return np.float32((word >> 41) + 0.5) * np.float32(2**-23)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_thousands_of_draws_follow_the_definition(temperature: float) -> None:
    random = np.random.RandomState(7)
    logits = (random.standard_normal((1000, 62)) * 4).astype(np.float32)
    uniforms = np.array([slow_uniform(int(word)) for word in random.randint(0, 2**63, 1000)])
    found = Sampler(logits, temperature).draw(uniforms)
    wanted = [
        slow_draw(*pair, temperature, Filters()) for pair in zip(logits, uniforms, strict=True)
    ]
    assert found.tolist() == wanted
    assert found.dtype == np.int64


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("word", [0, 2**64 - 1])
def test_a_character_without_weight_is_never_drawn(word: int, temperature: float) -> None:
    """Not even at the very ends of the unit interval."""
    logits = np.full((1, 9), -1e4, dtype=np.float32)
    logits[0, 4] = 0
    uniform = slow_uniform(word)
    assert Sampler(logits, temperature).draw_one(uniform) == 4
    assert Sampler(logits, temperature).draw(np.array([uniform])) == [4]


def test_greedy_takes_the_lowest_of_ties() -> None:
    logits = np.array([[1, 5, 2, 5, 5], [3, 3, 0, 0, 3]], dtype=np.float32)
    drawer = Sampler(logits, 0)
    assert drawer.draw_one(np.float32(0.999)) == 1
    assert drawer.draw(np.array([0.999, 0.999], dtype=np.float32)).tolist() == [1, 0]
    assert {draw.draw_first(logits[0], UniformStream(1, each), 0) for each in range(20)} == {1}


def test_cold_draws_are_greedy_and_hot_ones_even(chi_square: ChiSquare) -> None:
    logits = np.array([[0.0, 0.3, 0.1, 0.2]], dtype=np.float32)
    uniforms = list(itertools.islice(UniformStream(1, 0), 4000))
    cold = Sampler(logits, 1e-4)
    assert {cold.draw_one(uniform) for uniform in uniforms} == {1}
    hot = Sampler(logits, 1e6)
    counts = np.bincount([hot.draw_one(uniform) for uniform in uniforms], minlength=4)
    found, quantile = chi_square(counts, [1, 1, 1, 1])
    assert found < quantile


def test_first_characters_have_their_frequencies_whatever_the_temperature(
    chi_square: ChiSquare,
) -> None:
    initial = np.array([0.5, 0.0, 0.2, 0.3], dtype=np.float32)
    hot, cold = (
        [draw.draw_first(initial, UniformStream(5, stream), each) for stream in range(5000)]
        for each in (1.0, 0.2)
    )
    assert hot == cold
    found, quantile = chi_square(np.bincount(hot, minlength=4), initial)
    assert found < quantile


def test_logits_are_read_anew_at_each_draw() -> None:
    logits = np.array([[9, 0, 0]], dtype=np.float32)
    drawer = Sampler(logits, 0.1)
    assert drawer.draw_one(np.float32(0.5)) == 0
    logits[:] = [[0, 0, 9]]
    assert drawer.draw_one(np.float32(0.5)) == 2


@pytest.mark.parametrize("temperature", [-1.0, 1e-30, 1e-300, 1e30, float("inf"), float("nan")])
def test_an_impossible_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(SettingsError, match="`temperature` is 0"):
        inverse_temperature(temperature)


def test_drawn_seeds_differ_and_are_seeds() -> None:
    seeds = {draw_seed() for _ in range(50)}
    assert len(seeds) > 40
    for seed in seeds:
        Request(seed=seed)


BATCH, VOCABULARY = 6, 10

settings = st.tuples(
    st.sampled_from(TEMPERATURES) | st.floats(0.05, 20),
    st.builds(
        Filters,
        top_k=st.integers(0, 12),
        top_p=st.just(1.0) | st.floats(1e-3, 1.0),
        min_p=st.just(0.0) | st.floats(0, 1),
    ),
)
logits_of_a_batch = hnp.arrays(
    np.float32,
    (BATCH, VOCABULARY),
    elements=st.floats(-30, 30, width=32)
    | st.integers(-3, 3).map(float)
    | st.sampled_from([-1e5, 1e5, 88.0, -104.0]),
)
# Numbers that are drawn, from the smallest to the largest.
uniforms_of_a_batch = st.lists(
    (st.integers(0, 2**23 - 1) | st.sampled_from([0, 2**23 - 1])).map(
        lambda upper: np.float32((upper + 0.5) * 2**-23)
    ),
    min_size=BATCH,
    max_size=BATCH,
).map(np.array)


def slow_draw(logits: Floats, uniform: np.float32, temperature: float, filters: Filters) -> int:
    """The definition, a float32 at a time, with the filters' sets by sorting Python's numbers."""
    ids = range(len(logits))
    if temperature == 0:
        return max(ids, key=lambda k: (logits[k], -k))
    inverse, top = np.float32(1 / temperature), max(logits)
    e = [np.exp(np.float32(np.float32(logit - top) * inverse)) for logit in logits]
    kept = sorted(ids, key=lambda k: (-e[k], k))[: filters.top_k or None]
    if np.float32(filters.top_p) < 1:
        before = list(itertools.accumulate((e[k] for k in kept), initial=np.float32(0)))
        bound = np.float32(filters.top_p) * before[-1]
        kept = [k for k, sum_ in zip(kept, before, strict=False) if sum_ < bound]
    kept = [k for k in kept if e[k] >= np.float32(filters.min_p)]
    sums = list(itertools.accumulate(e[k] if k in kept else np.float32(0) for k in ids))
    return next(k for k in ids if sums[k] >= uniform * sums[-1])


@given(logits_of_a_batch, uniforms_of_a_batch, st.lists(settings, min_size=BATCH, max_size=BATCH))
def test_draws_follow_the_definition_each_stream_with_its_own_settings(
    logits: Floats, uniforms: Floats, given: list[tuple[float, Filters]]
) -> None:
    mixed = Sampling.of(given, VOCABULARY, [UniformStream(0, 0)] * len(given))
    before = logits.copy()
    together = Sampler(logits, mixed).draw(uniforms)
    assert together.dtype == np.int64
    for row, (temperature, filters) in enumerate(given):
        wanted = slow_draw(logits[row], uniforms[row], temperature, filters)
        alone = Sampler(logits[row : row + 1], temperature, filters)
        assert together[row] == wanted
        assert alone.draw_one(uniforms[row]) == wanted
        assert alone.draw(uniforms[row : row + 1]).tolist() == [wanted]
        of_a_batch = Sampler(logits[row:], mixed.take(slice(row, None)))
        assert of_a_batch.draw_one(uniforms[row]) == wanted
    np.testing.assert_array_equal(logits, before)


def test_greedy_among_drawn_streams_takes_the_lowest_of_ties() -> None:
    logits = np.array([[1, 5, 2, 5], [3, 3, 0, 3], [5, 2, 5, 1]], dtype=np.float32)
    given = [(0, Filters()), (1e-3, Filters()), (0, Filters(3, 0.9, 0.1))]
    mixed = Sampling.of(given, 4, [UniformStream(0, 0)] * 3)
    assert Sampler(logits, mixed).draw(np.full(3, 0.999, np.float32)).tolist() == [1, 3, 0]


@given(logits_of_a_batch, uniforms_of_a_batch, settings)
def test_the_same_settings_for_all_are_those_of_each(
    logits: Floats, uniforms: Floats, given: tuple[float, Filters]
) -> None:
    found = Sampler(logits, *given).draw(uniforms).tolist()
    same = Sampling.same(BATCH, VOCABULARY, *given)
    assert Sampler(logits, same).draw(uniforms).tolist() == found
    wanted = [
        slow_draw(row, uniform, *given) for row, uniform in zip(logits, uniforms, strict=True)
    ]
    assert found == wanted


@given(hnp.arrays(np.float32, (BATCH, VOCABULARY), elements=st.integers(-40, 40).map(float)))
def test_greedy_can_be_had_by_drawing(logits: Floats) -> None:
    """For graphs that know nothing else: whatever the filter, with the number that goes with it."""
    logits *= np.float32(2**-8)
    uniforms = np.full(BATCH, GREEDY_UNIFORM, dtype=np.float32)
    for filters in (Filters(), Filters(2), Filters(2, 0.3, 0.5)):
        given = Sampling.same(BATCH, VOCABULARY, 1.0, filters)
        given.inverse_temperature[:] = Sampling.same(1, VOCABULARY, 0).inverse_temperature
        found = Sampler(logits, given).draw(uniforms)
        assert found.tolist() == logits.argmax(axis=1).tolist()
    assert philox.uniform_from_word(np.array(0, dtype=np.uint64)) == GREEDY_UNIFORM


@pytest.mark.parametrize("filters", [Filters(2), Filters(top_p=0.9), Filters(min_p=0.1)])
def test_one_filter_is_enough_to_filter(filters: Filters) -> None:
    assert Sampling.same(2, 5, 1.0, filters).filtered.tolist() == [True, True]
    assert Sampling.same(2, 5, 0.0, filters).filtered.tolist() == [False, False]


FREQUENCIES: list[tuple[dict[str, Any], float, list[float]]] = [
    ({}, 2.0, [0.4**0.5, 0.1, 0, 0.5, 0.2, 0.3**0.5]),
    ({"top_k": 3}, 1.0, [0.4, 0, 0, 0.25, 0, 0.3]),
    ({"top_k": 3}, 0.5, [0.16, 0, 0, 0.0625, 0, 0.09]),
    ({"top_p": 0.9}, 1.0, [0.4, 0, 0, 0.25, 0, 0.3]),
    ({"top_p": 0.65}, 1.0, [0.4, 0, 0, 0, 0, 0.3]),
    ({"min_p": 0.09}, 1.0, [0.4, 0, 0, 0.25, 0.04, 0.3]),
    ({"min_p": 0.2}, 0.5, [0.16, 0, 0, 0.0625, 0, 0.09]),
    ({"top_k": 4, "top_p": 0.97, "min_p": 0.7}, 1.0, [0.4, 0, 0, 0, 0, 0.3]),
]


@pytest.mark.parametrize(("settings", "temperature", "shares"), FREQUENCIES)
def test_frequencies_are_those_of_what_the_filters_leave(
    settings: dict[str, Any], temperature: float, shares: list[float], chi_square: ChiSquare
) -> None:
    """`shares` were worked out by hand from these probabilities."""
    with np.errstate(divide="ignore"):
        logits = np.log([0.4, 0.01, 0.0, 0.25, 0.04, 0.3]).astype(np.float32)[None]
    drawer = Sampler(logits, temperature, Filters(**settings))
    uniforms = itertools.islice(UniformStream(3, 0), 20_000)
    counts = np.bincount([drawer.draw_one(uniform) for uniform in uniforms], minlength=6)
    found, quantile = chi_square(counts, shares)
    assert found < quantile
    wrong, _ = chi_square(counts, np.array(shares) ** 1.3)
    assert wrong > quantile, "the test can tell temperatures apart"


@pytest.mark.parametrize(
    ("drawn", "number", "filters", "flips"),
    [
        (0, 0.1, {"top_k": 2}, 0),
        (0, 2 / 3 + 1e-6, {"top_k": 2}, 1),
        (0, 2 / 3 + 1e-4, {"top_k": 2}, None),
        (2, 1 - 2**-24, {"top_k": 2}, None),  # it was removed
        (3, 0.1, {"top_k": 3}, 1),
        (3, 0.1, {"top_k": 2}, None),
        (3, 0.1, {"top_p": 0.75 + 1e-6}, 1),
        (3, 0.1, {"top_p": 0.76}, None),
        (3, 0.1, {"min_p": 0.25 - 1e-6}, 1),
        (3, 0.1, {"min_p": 0.24}, None),
    ],
)
def test_what_compares_paths_explains_near_ties_alone(
    count_flips: Callable[..., int],
    drawn: int,
    number: float,
    filters: dict[str, Any],
    flips: int | None,
) -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.125, 0.125]], dtype=np.float32))
    given = logits, [drawn], np.array([number], dtype=np.float32), 1.0, Filters(**filters)
    if flips is not None:
        assert count_flips(*given) == flips
        return
    with pytest.raises(AssertionError, match="position 0"):
        count_flips(*given)
