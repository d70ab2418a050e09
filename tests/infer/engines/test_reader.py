"""Whole texts by every way of reading them, against Torch; prompts of many lengths."""

import shutil
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.export.contract import SEQUENCE, sibling_path
from charlm.infer.engines.base import Primed, Read, read_prompts, run_length
from charlm.infer.engines.planning import Work, open_predictor, open_text_reader, reader_of
from charlm.infer.engines.reader import GraphTextReader, WindowReader
from charlm.infer.engines.step import Stepper, WindowStepper
from charlm.infer.generator import Generator
from charlm.infer.model.open import Model
from charlm.train.model import CharLSTM

Ids = npt.NDArray[np.int64]


def texts(batch: int, time: int) -> Ids:
    """What is read and what follows it, [batch, time + 1]."""
    return np.random.RandomState(batch).randint(0, 28, (batch, time + 1))


def state(batch: int) -> list[npt.NDArray[np.float32]]:
    random = np.random.RandomState(1)
    return [(random.randn(batch, 2, 16) * 0.5).clip(-1, 1).astype(np.float32) for _ in "hc"]


def check_equal(one: Read, other: Read) -> None:
    for name in ("log_probability", "logits", "h", "c"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("batch", [1, 3, 20])
@pytest.mark.parametrize("time", [1, 2, 50])
def test_texts_are_read_and_judged_as_by_torch(
    each_way: Generator, small_torch: CharLSTM, batch: int, time: int
) -> None:
    ids, before = texts(batch, time), state(batch)
    with torch.no_grad():
        given = tuple(torch.from_numpy(each.swapaxes(0, 1).copy()) for each in before)
        hidden, after = small_torch(torch.from_numpy(ids[:, :-1].T.copy()), given)
        logits = small_torch.head(hidden)
        shares = torch.log_softmax(logits, dim=-1)
        found = shares.gather(-1, torch.from_numpy(ids[:, 1:].T.copy())[..., None])[..., 0]
    h, c = (each.numpy().swapaxes(0, 1) for each in after)
    wanted = Read(h, c, logits[-1].numpy(), found.numpy().T)
    check_equal(open_text_reader(each_way.model).run(ids, *before), wanted)
    every, *states = open_predictor(each_way.model).predict(ids, *before)
    for ours, theirs in zip((every, *states), (shares.numpy().swapaxes(0, 1), h, c), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


def test_of_one_character_nothing_is_expected(each_way: Generator) -> None:
    every, *after = open_predictor(each_way.model).predict(texts(1, 0), *state(1))
    assert every.shape == (1, 0, 28)
    for ours, before in zip(after, state(1), strict=True):
        np.testing.assert_array_equal(ours, before)


@pytest.mark.parametrize("batch", [2, 9])
def test_runs_go_on_where_the_last_one_ended(each_way: Generator, batch: int) -> None:
    ids, reading = texts(batch, 40), open_text_reader(each_way.model)
    whole = reading.run(ids, *state(batch))
    first = reading.run(ids[:, :14], *state(batch))
    last = reading.run(ids[:, 13:], first.h, first.c)
    both = np.concatenate((first.log_probability, last.log_probability), axis=1)
    check_equal(Read(last.h, last.c, last.logits, both), whole)


def test_the_caller_s_arrays_stay_as_they_are(each_way: Generator) -> None:
    reading, ids = open_text_reader(each_way.model), texts(2, 5)
    h, c = state(2)
    before = [array.copy() for array in (ids, h, c)]
    first = reading.run(ids, h, c)
    kept = first.h.copy(), first.log_probability.copy()
    reading.run(ids, first.h, first.c)
    for one, other in zip((ids, h, c), before, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.h, kept[0])
    np.testing.assert_array_equal(first.log_probability, kept[1])


@pytest.mark.parametrize(
    ("precision", "said"),
    [("int8", "was not built"), ("fp16", "`provider` cuda only"), ("x", "float32, int8, fp16")],
)
def test_a_precision_that_is_not_there_is_one_line(
    small_whole: Generator, precision: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        open_text_reader(small_whole.model, precision)


def test_int8_that_costs_too_much_is_not_scored_in(small: Generator) -> None:
    metadata = replace(small.metadata, quality={"int8": {"loss": 0.02}})
    model = copy(small.model)
    model.metadata = metadata
    with pytest.raises(ModelFileError, match=r"costs this model 0\.0200 bits"):
        open_text_reader(model, "int8")


def test_a_damaged_graph_is_refused_and_not_passed_over(
    small_path: Path, portable: Callable[..., Generator], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(small_path, path)
    sibling_path(path, SEQUENCE).write_bytes(small_path.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match=r"model\.sequence\.onnx"):
        open_text_reader(portable(path).model)


def test_what_can_not_be_read_is_one_line(each_way: Generator) -> None:
    with pytest.raises(ModelFileError) as caught:
        open_text_reader(each_way.model).run(texts(1, 3) + 100, *state(1))
    assert "\n" not in str(caught.value)


def test_runs_are_long_and_bounded(
    small: Generator, as_if_on_cuda: Callable[[Model], Model]
) -> None:
    """On a GPU a thousand texts at once are still read in long runs."""
    batches, gpu = (1, 4, 64, 256, 4096, 10**6), as_if_on_cuda(small.model)
    assert [run_length(batch, small.model) for batch in batches] == [1024, 1024, 64, 16, 1, 1]
    assert [run_length(batch, gpu) for batch in batches] == [1024, 1024, 1024, 1024, 1024, 8]
    wide = copy(small.model)
    wide.metadata = replace(small.metadata, hidden=1 << 14)
    assert run_length(4, wide) == 16, "of 65,536 gates each"
    gpu.metadata = wide.metadata
    assert run_length(1, gpu, "cpu") == 64


@pytest.mark.parametrize("columns", [4, 6])
def test_a_graph_that_judges_other_than_was_asked_for_is_refused(columns: int) -> None:
    class Damaged:
        def run(self, names: list[str], given: dict[str, Any]) -> list[Any]:
            return [given["h"], given["c"], np.zeros((2, 28)), np.zeros((2, columns))]

    with pytest.raises(ModelFileError, match="write it anew with charlm-export"):
        GraphTextReader(Damaged()).run(texts(2, 5), *state(2))


LENGTHS = [
    [1], [2000], [3, 3, 3], [1, 9, 4, 9, 2, 1], [40, *[1] * 20], list(range(1, 34)), [700] * 9
]  # fmt: skip


def prompts_of(lengths: list[int]) -> list[npt.NDArray[np.uint8]]:
    random = np.random.RandomState(len(lengths))
    return [random.randint(0, 28, length).astype(np.uint8) for length in lengths]


def read_alone(stepper: Stepper | WindowStepper, prompt: npt.NDArray[np.uint8]) -> Primed:
    for token in prompt.tolist():
        stepper.token[0] = token
        stepper.step()
    return Primed(*stepper.state(), stepper.logits.copy())


def check_same(one: Primed, other: Primed, atol: float = 1e-3) -> None:
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
        check_same(together.take([row]), read_alone(Stepper(each_way.model, 1), prompt))


@pytest.mark.parametrize("lengths", [[1, 9, 4, 40, 4, 5, 6, 3], [5], [2]])
def test_of_a_window_only_the_last_characters_are_read(
    exact: Generator, lengths: list[int]
) -> None:
    prompts = prompts_of(lengths)
    together = WindowReader(exact.model, 5).read(prompts)
    for row, prompt in enumerate(prompts):
        alone = read_alone(WindowStepper(exact.model, 1, 5), prompt)
        check_same(together.take([row]), alone, atol=0)


def test_short_prompts_do_not_wait_for_a_long_one(exact: Generator) -> None:
    cells = 0

    def advance(ids: npt.NDArray[np.uint8], counts: npt.NDArray[np.int64], state: Primed) -> Primed:
        nonlocal cells
        cells += ids.size
        assert ids.size == counts.sum()
        read = state.h + ids.sum(axis=1, keepdims=True)
        return Primed(read, state.c, state.logits)

    prompts = prompts_of([100, *[5] * 63])
    zeros = np.zeros((64, 1), dtype=np.float32)
    states = Primed(zeros, zeros, zeros)
    found = read_prompts(prompts, states, exact.metadata, advance, [5, 100])
    assert cells == 5 * 64 + 95
    assert found.h[:, 0].tolist() == [prompt.sum() for prompt in prompts]
