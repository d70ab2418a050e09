"""Whole runs of a sequence graph, against the step graph and Torch."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from charlm.data.errors import ModelFileError, SettingsError
from charlm.export.contract_siblings import SEQUENCE, SEQUENCE_BATCH, sibling_path
from charlm.infer import sequence
from charlm.infer.artifact import open_model
from charlm.infer.generator import Generator
from charlm.infer.sequence import (
    FEW_TEXTS,
    GraphSequence,
    Read,
    StepSequence,
    open_sequence,
    run_length,
)
from charlm.train.model import CharLSTM

Ids = npt.NDArray[np.int64]


def texts(batch: int, time: int) -> tuple[Ids, Ids]:
    ids = np.random.RandomState(batch).randint(0, 28, (batch, time + 1))
    return ids[:, :-1], ids[:, 1:]


def state(batch: int, scale: float = 0.5) -> list[npt.NDArray[np.float32]]:
    random = np.random.RandomState(1)
    return [(random.randn(batch, 2, 16) * scale).clip(-1, 1).astype(np.float32) for _ in "hc"]


def check_equal(one: Read, other: Read) -> None:
    for name in ("log_probability", "logits", "h", "c"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("batch", [1, 3, FEW_TEXTS, FEW_TEXTS + 1, 20])
@pytest.mark.parametrize("time", [1, 2, 50])
def test_graphs_give_what_steps_give(read_whole: Generator, batch: int, time: int) -> None:
    tokens, targets = texts(batch, time)
    found = open_sequence(read_whole.model, batch).run(tokens, targets, *state(batch))
    assert found.log_probability.shape == (batch, time)
    check_equal(found, StepSequence(read_whole.model).run(tokens, targets, *state(batch)))


def test_steps_give_what_torch_gives(small: Generator, small_torch: CharLSTM) -> None:
    tokens, targets = texts(4, 30)
    zeros = np.zeros((4, 2, 16), np.float32)
    found = open_sequence(small.model, 4).run(tokens, targets, zeros, zeros)
    with torch.no_grad():
        hidden, _ = small_torch(torch.from_numpy(tokens.T), small_torch.zero_state(4))
        logits = small_torch.head(hidden)
        shares = torch.log_softmax(logits, dim=-1)
        wanted = shares.gather(-1, torch.from_numpy(targets.T)[..., None])[..., 0]
    np.testing.assert_allclose(found.log_probability, wanted.numpy().T, atol=1e-3)
    np.testing.assert_allclose(found.logits, logits[-1].numpy(), atol=1e-3)


@pytest.mark.parametrize("batch", [2, 9])
def test_runs_go_on_where_the_last_one_ended(read_whole: Generator, batch: int) -> None:
    tokens, targets = texts(batch, 40)
    reading = open_sequence(read_whole.model, batch)
    whole = reading.run(tokens, targets, *state(batch))
    first = reading.run(tokens[:, :13], targets[:, :13], *state(batch))
    last = reading.run(tokens[:, 13:], targets[:, 13:], first.h, first.c)
    both = np.concatenate((first.log_probability, last.log_probability), axis=1)
    check_equal(Read(both, last.logits, last.h, last.c), whole)


@pytest.mark.parametrize("form", ["graphs", "steps"])
def test_the_caller_s_arrays_stay_as_they_are(read_whole: Generator, form: str) -> None:
    model = read_whole.model
    reading = open_sequence(model, 2) if form == "graphs" else StepSequence(model)
    tokens, targets = texts(2, 5)
    h, c = state(2)
    given = [tokens, targets, h, c]
    before = [array.copy() for array in given]
    first = reading.run(tokens, targets, h, c)
    kept = first.h.copy(), first.log_probability.copy()
    reading.run(tokens, targets, first.h, first.c)
    for one, other in zip(given, before, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.h, kept[0])
    np.testing.assert_array_equal(first.log_probability, kept[1])


class Named:
    """A session that says that it ran."""

    def __init__(self, name: str, ran: list[str]) -> None:
        self.name, self.ran = name, ran

    def run(self, *_: Any) -> list[int]:
        self.ran.append(self.name)
        return [0] * 4


def test_the_number_of_texts_chooses_the_graph() -> None:
    ran: list[str] = []
    reading = GraphSequence(Named("few", ran), Named("many", ran))
    for batch in (1, FEW_TEXTS, FEW_TEXTS + 1):
        reading.run(*texts(batch, 1), *state(batch))
    assert ran == ["few", "few", "many"]


def test_a_graph_is_opened_only_if_it_will_be_used(
    read_whole: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    session = type(read_whole.model.siblings).session

    def spied(siblings: Any, kind: Any, threads: int = 1) -> Any:
        opened.append(kind)
        return session(siblings, kind, threads)

    monkeypatch.setattr(type(read_whole.model.siblings), "session", spied)
    open_sequence(read_whole.model, FEW_TEXTS)
    assert opened == [SEQUENCE]
    open_sequence(read_whole.model, FEW_TEXTS + 1)
    assert opened == [SEQUENCE, SEQUENCE, SEQUENCE_BATCH]


@pytest.mark.parametrize("kind", [SEQUENCE, SEQUENCE_BATCH])
@pytest.mark.parametrize("batch", [1, 10])
def test_one_graph_is_enough(
    read_whole: Generator, small_path: Path, tmp_path: Path, kind: Any, batch: int
) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(small_path, path)
    assert read_whole.model.siblings._model is not None
    shutil.copy(sibling_path(read_whole.model.siblings._model, kind), sibling_path(path, kind))
    model = open_model(path, "cpu", 1)
    reading = open_sequence(model, batch)
    assert isinstance(reading, GraphSequence)
    tokens, targets = texts(batch, 9)
    wanted = StepSequence(model).run(tokens, targets, *state(batch))
    check_equal(reading.run(tokens, targets, *state(batch)), wanted)


def test_a_model_alone_goes_step_by_step(small: Generator) -> None:
    assert isinstance(open_sequence(small.model, 10), StepSequence)


def test_a_precision_that_is_not_there_is_one_line(read_whole: Generator) -> None:
    with pytest.raises(SettingsError, match=r"no int8 graph .*export it with --int8"):
        open_sequence(read_whole.model, 1, "int8")
    with pytest.raises(SettingsError, match="--precision is one of float32, int8, fp16, not 'x'"):
        open_sequence(read_whole.model, 1, "x")


def test_a_damaged_graph_is_refused_and_not_passed_over(small_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(small_path, path)
    sibling_path(path, SEQUENCE).write_bytes(small_path.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match=r"model\.sequence\.onnx"):
        open_sequence(open_model(path, "cpu", 1), 1)


def test_what_the_runtime_complains_of_is_one_line(read_whole: Generator) -> None:
    tokens, targets = texts(1, 3)
    with pytest.raises(ModelFileError, match="ONNX Runtime can't run the model: "):
        open_sequence(read_whole.model, 1).run(tokens + 100, targets, *state(1))


def test_runs_are_long_and_bounded(read_whole: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = read_whole.metadata
    lengths = [run_length(batch, metadata) for batch in (1, 4, 64, 256, 4096, 10**6)]
    assert lengths == [1024, 1024, 64, 16, 1, 1]
    monkeypatch.setattr(sequence, "MOST_NUMBERS", 64 * 100)  # gates of 16 units are the widest
    assert run_length(4, metadata) == 25
