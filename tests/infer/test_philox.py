import itertools
import subprocess
import sys
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.infer import philox, sampler
from charlm.infer.philox import UniformStream, take_block

Words = npt.NDArray[np.uint64]
GOLDEN = [8088775.0, 12148979.0, 843123.0]  # in units of 2^-24
LAST = 2**64 - 1
HAND_OVERS = (philox.NEAR, philox.FIRST_BLOCK, philox.BLOCK, philox.WORTH_IMPORTING)

keys = st.integers(0, LAST) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, LAST])
starts = (
    st.integers(0, 3000)
    | st.sampled_from([edge + step for edge in HAND_OVERS for step in (-5, -1, 0, 1)])
    | st.integers(0, 2**40)
)
counts = st.integers(0, 300)
places = st.tuples(keys, keys, st.integers(0, 2 * philox.NEAR))


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


def slow_uniform(word: int) -> np.float32:
    return np.float32((word >> 41) + 0.5) * np.float32(2**-23)


@given(keys, keys, starts, counts)
def test_words_are_numpys(seed: int, stream: int, start: int, count: int) -> None:
    found = philox.words(seed, stream, start, count)
    assert found.dtype == np.uint64
    np.testing.assert_array_equal(found, numpy_words(seed, stream, start, count))


@given(keys, keys, starts, counts)
def test_computed_words_are_numpys(seed: int, stream: int, start: int, count: int) -> None:
    """Far from the beginning too, where `words` would leave them to NumPy."""
    (found,) = philox._computed([seed], [stream], [start], count)
    np.testing.assert_array_equal(found, numpy_words(seed, stream, start, count))


@given(
    st.lists(places, max_size=4)
    | st.lists(places, min_size=philox.SEVERAL, max_size=philox.SEVERAL + 4),
    st.integers(0, 40),
)
def test_streams_are_taken_together_as_alone(taken: list[tuple[int, int, int]], count: int) -> None:
    """Some short of the hand-over to NumPy's generator, some past it, each block from the last."""
    streams = [UniformStream(*place) for place in taken]
    for block in range(3):
        found = take_block(streams, count)
        assert found.dtype == np.float32
        assert found.shape == (len(taken), count)
        for row, (seed, stream, start) in zip(found, taken, strict=True):
            wanted = numpy_words(seed, stream, start + block * count, count)
            np.testing.assert_array_equal(row, philox.uniform_from_word(wanted))
    assert [each.position for each in streams] == [start + 3 * count for *_, start in taken]


def test_thousands_of_streams_are_taken_together() -> None:
    """More than are computed at once."""
    number = 2 * philox.ROWS_AT_ONCE // 10
    streams = [UniformStream(5, stream, stream % 7) for stream in range(number)]
    found = take_block(streams, 37)
    for row, stream in zip(found, streams, strict=True):
        wanted = numpy_words(5, stream.stream, stream.stream % 7, 37)
        np.testing.assert_array_equal(row, philox.uniform_from_word(wanted))


@given(keys, keys, st.lists(st.integers(0, 200), max_size=8), st.integers(0, 400))
def test_a_stream_is_read_forward(seed: int, stream: int, blocks: list[int], start: int) -> None:
    reader = UniformStream(seed, stream, start)
    found = np.concatenate([np.empty(0, np.float32), *(reader.take(count) for count in blocks)])
    wanted = philox.uniform_from_word(numpy_words(seed, stream, start, sum(blocks)))
    np.testing.assert_array_equal(found, wanted)
    assert reader.position == start + sum(blocks)


@pytest.mark.parametrize("start", [0, 3, philox.NEAR - 2])
def test_a_stream_is_iterated_from_its_position_which_stays(start: int) -> None:
    reader = UniformStream(7, 3)
    reader.take(start)
    twice = [list(itertools.islice(reader, 700)) for _ in range(2)]
    assert twice[0] == twice[1] == list(reader.take(700))


@given(st.lists(keys, min_size=1, max_size=50))
def test_uniforms_are_exact_and_inside_zero_and_one(drawn: list[int]) -> None:
    found = philox.uniform_from_word(np.array(drawn, dtype=np.uint64))
    assert found.dtype == np.float32
    for word, uniform in zip(drawn, found, strict=True):
        exact = (Fraction(word >> 41) + Fraction(1, 2)) / 2**23
        assert Fraction(float(uniform)) == exact
        assert 0 < uniform < 1


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32, LAST])
@pytest.mark.parametrize("stream", [0, 1, 7, LAST])
def test_position_t_owns_word_t(seed: int, stream: int) -> None:
    """Across every boundary between the blocks that are drawn at once."""
    count = philox.FIRST_BLOCK + 2 * philox.BLOCK + 5
    generator = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
    wanted = [slow_uniform(int(generator.random_raw())) for _ in range(count)]
    assert list(itertools.islice(sampler.uniforms(seed, stream), count)) == wanted


def test_a_golden_word() -> None:
    """The generator's first numbers, written down: another would give other texts."""
    assert [float(u) * 2**24 for u in UniformStream(7, 3).take(3)] == GOLDEN


IMPORTING = """
import sys
from charlm.infer import philox
stream = philox.UniformStream(7, 3)
for _ in range(philox.WORTH_IMPORTING // 1000):
    stream.take(1000)
assert "numpy.random" not in sys.modules, "sooner than it is worth it"
many = [philox.UniformStream(7, number) for number in range(1000)]
philox.take_block(many, philox.NEAR)
assert "numpy.random" not in sys.modules, "for short texts"
words = stream.take(1000)
assert "numpy.random" in sys.modules, "for long texts"
print(*words.tolist())
"""


def test_numpys_generator_is_imported_for_long_texts_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    start = philox.WORTH_IMPORTING // 1000 * 1000
    wanted = philox.uniform_from_word(numpy_words(7, 3, start, 1000))
    assert [float(each) for each in done.stdout.split()] == wanted.tolist()
