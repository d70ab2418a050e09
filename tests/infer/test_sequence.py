"""Whole texts, by the native operator, the portable graph and the step graph, against Torch."""

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
from charlm.infer.engines import sequence
from charlm.infer.engines.sequence import GraphSequence, Read, open_sequence, run_length
from charlm.infer.generator import Generator
from charlm.infer.model.artifact import Model
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
    wanted = Read(found.numpy().T, h, c, logits[-1].numpy())
    check_equal(open_sequence(each_way.model).run(ids, *before), wanted)


@pytest.mark.parametrize("batch", [2, 9])
def test_runs_go_on_where_the_last_one_ended(each_way: Generator, batch: int) -> None:
    ids, reading = texts(batch, 40), open_sequence(each_way.model)
    whole = reading.run(ids, *state(batch))
    first = reading.run(ids[:, :14], *state(batch))
    last = reading.run(ids[:, 13:], first.h, first.c)
    both = np.concatenate((first.log_probability, last.log_probability), axis=1)
    check_equal(Read(both, last.h, last.c, last.logits), whole)


def test_the_caller_s_arrays_stay_as_they_are(each_way: Generator) -> None:
    reading, ids = open_sequence(each_way.model), texts(2, 5)
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
    [("int8", "was not built"), ("fp16", "--provider cuda only"), ("x", "float32, int8, fp16")],
)
def test_a_precision_that_is_not_there_is_one_line(
    small_whole: Generator, precision: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        open_sequence(small_whole.model, precision)


def test_int8_that_costs_too_much_is_not_scored_in(small: Generator) -> None:
    metadata = replace(small.metadata, quality={"int8": {"loss": 0.02}})
    model = copy(small.model)
    model.metadata = metadata
    with pytest.raises(ModelFileError, match=r"costs this model 0\.0200 bits"):
        open_sequence(model, "int8")


def test_a_damaged_graph_is_refused_and_not_passed_over(
    small_path: Path, portable: Callable[..., Generator], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(small_path, path)
    sibling_path(path, SEQUENCE).write_bytes(small_path.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match=r"model\.sequence\.onnx"):
        open_sequence(portable(path).model)


def test_what_can_not_be_read_is_one_line(each_way: Generator) -> None:
    with pytest.raises(ModelFileError) as caught:
        open_sequence(each_way.model).run(texts(1, 3) + 100, *state(1))
    assert "\n" not in str(caught.value)


def test_runs_are_long_and_bounded(
    small: Generator,
    as_if_on_cuda: Callable[[Model], Model],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a GPU a thousand texts at once are still read in long runs."""
    batches, gpu = (1, 4, 64, 256, 4096, 10**6), as_if_on_cuda(small.model)
    assert [run_length(batch, small.model) for batch in batches] == [1024, 1024, 64, 16, 1, 1]
    assert [run_length(batch, gpu) for batch in batches] == [1024, 1024, 1024, 1024, 1024, 4]
    monkeypatch.setattr(sequence, "MOST_NUMBERS", 64 * 100)  # gates of 16 units are the widest
    assert run_length(4, small.model) == 25


@pytest.mark.parametrize("columns", [4, 6])
def test_a_graph_that_judges_other_than_was_asked_for_is_refused(columns: int) -> None:
    class Damaged:
        def run(self, names: list[str], given: dict[str, Any]) -> list[Any]:
            return [np.zeros((2, columns)), given["h"], given["c"], np.zeros((2, 28))]

    with pytest.raises(ModelFileError, match="write it anew with charlm-export"):
        GraphSequence(Damaged()).run(texts(2, 5), *state(2))
