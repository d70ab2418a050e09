"""Prompts read in whole runs, against the step reader."""

import numpy as np
import pytest

from charlm.data.errors import SettingsError
from charlm.infer import sequence
from charlm.infer.engine import Primed, StepReader, Tokens
from charlm.infer.generator import Generator
from charlm.infer.sequence_reader import SequenceReader, reader_for


def check_equal(one: Primed, other: Primed) -> None:
    for ours, theirs in ((one.h, other.h), (one.c, other.c), (one.logits, other.logits)):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)


def prompts_of(lengths: list[int]) -> list[Tokens]:
    random = np.random.RandomState(len(lengths))
    return [random.randint(0, 28, length).astype(np.uint8) for length in lengths]


@pytest.mark.parametrize(
    "lengths",
    [[1], [2000], [3, 3, 3], [1, 9, 4, 9, 2, 1], [40, *[1] * 20], list(range(1, 34)), [700] * 9],
)
def test_prompts_end_where_the_step_reader_ends(read_whole: Generator, lengths: list[int]) -> None:
    prompts = prompts_of(lengths)
    found = SequenceReader(read_whole.model).read(prompts)
    check_equal(found, StepReader(read_whole.model).read(prompts))


def test_short_runs_change_nothing(read_whole: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of([30, 7, 30, 21])
    whole = SequenceReader(read_whole.model).read(prompts)
    monkeypatch.setattr(sequence, "LONGEST_RUN", 4)
    check_equal(SequenceReader(read_whole.model).read(prompts), whole)


def test_one_reader_reads_few_then_many_then_few(read_whole: Generator) -> None:
    reader, steps = SequenceReader(read_whole.model), StepReader(read_whole.model)
    for lengths in ([5], [6] * 20, [7, 3]):
        prompts = prompts_of(lengths)
        check_equal(reader.read(prompts), steps.read(prompts))


def test_short_prompts_do_not_wait_for_a_long_one(
    read_whole: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = 0
    run = sequence.GraphSequence.run

    def counted(self: sequence.GraphSequence, tokens: Tokens, *rest: Tokens) -> sequence.Read:
        nonlocal cells
        cells += tokens.size
        return run(self, tokens, *rest)

    monkeypatch.setattr(sequence.GraphSequence, "run", counted)
    SequenceReader(read_whole.model).read(prompts_of([100, *[5] * 63]))
    assert cells == 5 * 64 + 95


def test_the_model_chooses_the_reader(small: Generator, read_whole: Generator) -> None:
    assert isinstance(reader_for(small.model), StepReader)
    assert isinstance(reader_for(read_whole.model), SequenceReader)
    with pytest.raises(SettingsError, match="export it with --int8"):
        reader_for(read_whole.model, "int8")
    with pytest.raises(SettingsError, match="export it with --fp16"):
        reader_for(small.model, "fp16")
