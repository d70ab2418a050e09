"""The numbers of sampling, against NumPy's generator read from its beginning."""

import itertools
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.infer.sampling import philox
from charlm.infer.sampling.philox import UniformStream, take_block

Words = npt.NDArray[np.uint64]
GOLDEN = [8088775.0, 12148979.0, 843123.0]  # in units of 2^-24
LAST = 2**64 - 1

keys = st.integers(0, LAST) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, LAST])
starts = st.integers(0, 3000) | st.integers(0, 2**40)
places = st.tuples(keys, keys, starts)


def numpy_words(seed: int, stream: int, start: int, count: int) -> Words:
    """NumPy's own, from the beginning; those far away by its `advance`, a block before them."""
    generator = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
    skipped = start
    if start > 5000:
        generator.advance(start // 4 - 1)
        skipped = start % 4 + 4
    generator.random_raw(skipped)
    found: Words = generator.random_raw(count)
    return found


@given(st.lists(places, min_size=1, max_size=4), st.integers(0, 40))
def test_streams_are_taken_together_as_alone(taken: list[tuple[int, int, int]], count: int) -> None:
    """From anywhere, each block from the last."""
    streams = [UniformStream(*place) for place in taken]
    for block in range(3):
        found = take_block(streams, count)
        assert found.dtype == np.float32
        assert found.shape == (len(taken), count)
        for row, (seed, stream, start) in zip(found, taken, strict=True):
            wanted = numpy_words(seed, stream, start + block * count, count)
            np.testing.assert_array_equal(row, philox.uniform_from_word(wanted))
    assert [each.position for each in streams] == [start + 3 * count for *_, start in taken]


@given(keys, keys)
def test_the_first_number_is_the_streams(seed: int, stream: int) -> None:
    assert philox.first_uniform(seed, stream) == UniformStream(seed, stream).take(1)[0]


@given(keys, keys, st.lists(st.integers(0, 200), max_size=8), starts, st.integers(0, 99))
def test_a_stream_is_read_forward(
    seed: int, stream: int, blocks: list[int], start: int, skipped: int
) -> None:
    """Also where someone else has moved it on: the operator has numbers of its own."""
    reader = UniformStream(seed, stream, start)
    reader.take(3)
    reader.position += skipped
    start = reader.position
    found = np.concatenate([np.empty(0, np.float32), *(reader.take(count) for count in blocks)])
    wanted = philox.uniform_from_word(numpy_words(seed, stream, start, sum(blocks)))
    np.testing.assert_array_equal(found, wanted)
    assert reader.position == start + sum(blocks)


@pytest.mark.parametrize("start", [0, 3, 254])
def test_a_stream_is_iterated_from_its_position_which_stays(start: int) -> None:
    reader = UniformStream(7, 3)
    reader.take(start)
    count = philox.BLOCK + 7
    twice = [list(itertools.islice(reader, count)) for _ in range(2)]
    assert twice[0] == twice[1] == list(reader.take(count))


@given(st.lists(keys, min_size=1, max_size=50))
def test_uniforms_are_exact_and_inside_zero_and_one(drawn: list[int]) -> None:
    found = philox.uniform_from_word(np.array(drawn, dtype=np.uint64))
    assert found.dtype == np.float32
    for word, uniform in zip(drawn, found, strict=True):
        exact = (Fraction(word >> 41) + Fraction(1, 2)) / 2**23
        assert Fraction(float(uniform)) == exact
        assert 0 < uniform < 1


def test_a_golden_word() -> None:
    """The generator's first numbers, written down: another would give other texts."""
    assert [float(u) * 2**24 for u in UniformStream(7, 3).take(3)] == GOLDEN
