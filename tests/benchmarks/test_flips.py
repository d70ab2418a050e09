"""Flips: found where they are made, judged by how near a tie they are, and counted right."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.benchmarks import engines, flips
from charlm.benchmarks.flips import BLOCK, STREAMS, Comparison, Reference, Row, tie_distance
from charlm.benchmarks.harness.settings import CaseSettings
from charlm.infer.engines.base import Primed, Rows, Tokens
from charlm.infer.engines.step import StepEngine
from charlm.infer.generator import Generator
from charlm.infer.model.open import Model, open_model
from charlm.infer.sampling.draw import Sampling
from charlm.infer.sampling.filters import Filters
from charlm.infer.sampling.philox import UniformStream

POSITIONS = BLOCK + 20  # two blocks, the second one short


class Flipping:
    """The step engine, but one character of one stream is another."""

    def __init__(self, model: Model, call: int, stream: int, place: int) -> None:
        self.inner, self.calls = StepEngine(model), 0
        self.at = call, stream, place
        self.replaced: list[int] = []

    def start(self, primed: Primed, sampling: Sampling) -> None:
        self.inner.start(primed, sampling)

    def replace(self, rows: Rows, primed: Primed, sampling: Sampling) -> None:
        self.replaced += rows.tolist()
        self.inner.replace(rows, primed, sampling)

    def keep(self, rows: Rows) -> None:
        raise AssertionError("a comparison keeps all its streams")

    def draw(self, numbers: Sequence[UniformStream], steps: int) -> Tokens:
        call, stream, place = self.at
        tokens = np.array(self.inner.draw(numbers, steps))
        if self.calls == call:
            tokens[stream, place] = (tokens[stream, place] + 1) % 20
        self.calls += 1
        return tokens


@pytest.fixture
def model(model_file: Path) -> Model:
    return open_model(model_file, "cpu", 1)


def compared(model: Model, paths: list[Any], temperature: float = 1.0) -> flips.Count:
    start = engines.primed(model, [3, 4, 5], STREAMS)
    comparison = Comparison(paths, temperature)
    for block in Reference(model, temperature).blocks(start, 7, POSITIONS):
        comparison.take(block)
    return comparison.count


def test_the_reference_is_the_text_that_generator_draws(model: Model, model_file: Path) -> None:
    generator = Generator(model)
    prompt = generator.vocabulary.decode(np.array([3, 4, 5]))
    start = engines.primed(model, [3, 4, 5], STREAMS)
    blocks = list(Reference(model, 1.0).blocks(start, 7, POSITIONS))
    drawn = np.concatenate([block.drawn for block in blocks], axis=1)
    for stream in (0, STREAMS - 1):
        text = generator.text(prompt, length=POSITIONS, seed=7, sample=stream)
        assert generator.vocabulary.decode(drawn[stream]) == text
    np.testing.assert_array_equal(blocks[0].after.h, blocks[1].before.h)


@pytest.mark.parametrize("row", flips.PATHS, ids=lambda row: row.name)
def test_every_path_follows_the_reference(row: Row, model: Model) -> None:
    (found,) = flips.compare(model, [row], 0.5, 64 * 40, 1)
    assert found.skipped is None
    assert found.characters == 64 * 40
    assert found.flips == found.ties == 0


def test_a_flip_is_counted_once_and_its_stream_goes_on_from_the_reference(model: Model) -> None:
    path = Flipping(model, call=0, stream=5, place=9)
    count = compared(model, [path])
    assert (count.flips, count.ties) == (1, 0)
    assert count.worst > 1
    # After its flip the stream's block says nothing; the next block counts again.
    assert count.characters == STREAMS * POSITIONS - (BLOCK - 10)
    assert path.replaced == [5]


def test_a_flip_in_the_last_position_costs_no_characters(model: Model) -> None:
    count = compared(model, [Flipping(model, call=1, stream=0, place=19)])
    assert (count.flips, count.characters) == (1, STREAMS * POSITIONS)


def test_streams_may_be_split_over_engines(model: Model) -> None:
    paths: list[Any] = [StepEngine(model) for _ in range(3)]
    paths += [Flipping(model, call=1, stream=2, place=0)]
    count = compared(model, paths)
    assert count.flips == 1
    assert paths[-1].replaced == [2]


LOGITS = np.log(np.array([1, 2, 3, 4], dtype=np.float32))  # sums 0.1, 0.3, 0.6, 1


@pytest.mark.parametrize(
    ("uniform", "choices", "distance"),
    [
        (0.3 + 1e-5, (1, 2), 0.5),
        (0.3 - 1e-5, (2, 1), 0.5),
        (0.3 + 4e-5, (1, 2), 2.0),
        (0.6 + 2e-5, (1, 3), 1.0),  # of the boundaries between them the nearest counts
        (0.6, (0, 1), 0.5 / 2e-5),
    ],
)
def test_the_distance_from_a_tie(uniform: float, choices: tuple[int, int], distance: float) -> None:
    found = tie_distance(LOGITS, np.float32(uniform), 1.0, choices)
    assert found == pytest.approx(distance, rel=0.02)


def test_below_temperature_one_more_is_allowed() -> None:
    # At T = 1/2 the weights are the squares: sums 1, 5, 14, 30.
    found = tie_distance(LOGITS, np.float32(5 / 30 + 4e-5), 0.5, (1, 2))
    assert found == pytest.approx(1.0, rel=0.02)


def test_a_path_without_its_graph_is_skipped_with_the_reason(model: Model) -> None:
    rows = [Row("x", "some path", "unheard-of", 64), flips.PATHS[0]]
    found = flips.compare(model, rows, 1.0, 64, 1)
    assert found[0].skipped == "charlm has no unheard-of path"
    assert found[0].characters == 0
    assert found[1].characters == 64


def test_the_process_answers_for_every_temperature(case_settings: CaseSettings) -> None:
    found = flips.measure(case_settings, 64 * 3 * 4)
    assert {each.temperature for each in found} == set(flips.TEMPERATURES)
    plain, filtered = (
        {each.characters for each in found if ("top-k" in each.path) == wanted}
        for wanted in (False, True)
    )
    assert (plain, filtered) == ({64 * 4}, {64 * 3 * 4})
    assert all(each.skipped is None for each in found)
    assert {each.per_million for each in found} == {0.0}


def test_a_process_that_fails_leaves_its_reason(case_settings: CaseSettings) -> None:
    (found,) = flips.measure(replace(case_settings, model="absent.onnx"), 64)
    assert found.skipped is not None
    assert "absent.onnx" in found.skipped


@pytest.mark.parametrize(
    ("filters", "weights", "distance"),
    [
        # Two weights as good as equal, of which top-k keeps one; the sum that is left is 0.4.
        (Filters(top_k=1), [0.4, 0.4 - 1e-6, 0.2], 1e-6 / (2e-5 * 0.4)),
        # The second share ends just short of where top-p does.
        (Filters(top_p=0.7), [0.5, 0.2 - 4e-6, 0.3 + 4e-6], None),
        (Filters(top_p=0.8), [0.5, 0.2 - 4e-6, 0.3 + 4e-6], 4e-6 / (2e-5 * 0.8)),
        # The third is just under a fifth of the first.
        (Filters(min_p=0.2), [0.5, 0.4, 0.1 - 2e-6], 2e-6 / (2e-5 * 0.9)),
    ],
    ids=str,
)
def test_a_filters_threshold_explains_a_flip_that_u_does_not(
    filters: Filters, weights: list[float], distance: float | None
) -> None:
    logits = np.log(np.array(weights)).astype(np.float32)
    found = tie_distance(logits, np.float32(0.2), 1.0, (0, 1), filters)
    unfiltered = tie_distance(logits, np.float32(0.2), 1.0, (0, 1))
    assert unfiltered > 100, "u is far from every boundary"
    if distance is None:
        assert found > 100
    else:
        assert found == pytest.approx(distance, rel=0.2)


def test_filtered_paths_are_held_against_a_filtered_reference(model: Model) -> None:
    rows = [Row("n", "n", engines.NATIVE, 1)]
    (found,) = flips.compare(model, rows, 1.0, 6400, 1, Filters(top_k=3))
    (other,) = flips.compare(model, rows, 1.0, 6400, 1)
    assert found.skipped is None
    assert found.characters == other.characters == 6400
    assert found.ties == found.flips
    assert "top-k" in found.path
    assert "top-k" not in other.path
