"""Prompts of many lengths, read together, end where each ends alone."""

import numpy as np
import numpy.typing as npt
import pytest

from charlm.infer.engines import sequence
from charlm.infer.engines.engine import Primed
from charlm.infer.engines.reading import SequenceReader, WindowReader, longest_first
from charlm.infer.engines.session import Stepper
from charlm.infer.engines.window_stepper import WindowStepper
from charlm.infer.generator import Generator
from charlm.infer.planning.paths import reader_of
from charlm.infer.planning.work import Work

Ids = npt.NDArray[np.uint8]
LENGTHS = [
    [1], [2000], [3, 3, 3], [1, 9, 4, 9, 2, 1], [40, *[1] * 20], list(range(1, 34)), [700] * 9
]  # fmt: skip


def prompts_of(lengths: list[int]) -> list[Ids]:
    random = np.random.RandomState(len(lengths))
    return [random.randint(0, 28, length).astype(np.uint8) for length in lengths]


def read_alone(stepper: Stepper | WindowStepper, prompt: Ids) -> Primed:
    for token in prompt.tolist():
        stepper.token[0] = token
        stepper.step()
    return Primed(*stepper.state(), stepper.logits.copy())


def check_equal(one: Primed, other: Primed, atol: float = 1e-3) -> None:
    for ours, theirs in ((one.h, other.h), (one.c, other.c), (one.logits, other.logits)):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_prompts_read_together_end_where_each_ends_alone(
    each_way: Generator, lengths: list[int]
) -> None:
    """In their own order, whatever the reader's."""
    prompts = prompts_of(lengths)
    together = reader_of(each_way.model, each_way.plan(Work(None))).read(prompts)
    assert len(together.logits) == len(prompts)
    for row, prompt in enumerate(prompts):
        check_equal(together.take([row]), read_alone(Stepper(each_way.model, 1), prompt))


@pytest.mark.parametrize("lengths", [[1, 9, 4, 40, 4, 5, 6, 3], [5], [2]])
def test_of_a_window_only_the_last_characters_are_read(
    exact: Generator, lengths: list[int]
) -> None:
    prompts = prompts_of(lengths)
    together = WindowReader(exact.model, 5).read(prompts)
    for row, prompt in enumerate(prompts):
        alone = read_alone(WindowStepper(exact.model, 1, 5), prompt)
        check_equal(together.take([row]), alone, atol=0)


def test_short_prompts_do_not_wait_for_a_long_one() -> None:
    cells = 0

    def advance(ids: npt.NDArray[np.int64], state: Primed) -> Primed:
        nonlocal cells
        cells += ids.size
        read = state.h + ids.sum(axis=1, keepdims=True)
        return Primed(read, state.c, state.logits)

    prompts, zeros = prompts_of([100, *[5] * 63]), np.zeros((64, 1))
    found = longest_first(prompts, Primed(zeros, zeros, zeros), advance)
    assert cells == 5 * 64 + 95
    assert found.h[:, 0].tolist() == [prompt.sum() for prompt in prompts]


def test_short_runs_change_nothing(small_whole: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of([30, 7, 30, 21])
    whole = SequenceReader(small_whole.model).read(prompts)
    monkeypatch.setattr(sequence, "LONGEST_RUN", 4)
    check_equal(SequenceReader(small_whole.model).read(prompts), whole)
