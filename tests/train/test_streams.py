"""The stateful recipe's batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.system.errors import CorpusError
from charlm.train.batches.streams import Streams


@given(
    batch=st.integers(1, 7),
    window=st.integers(1, 12),
    length=st.integers(12, 60),
    rest=st.integers(0, 6),
)
def test_streams_are_contiguous_and_hold_every_target_once(
    batch: int, window: int, length: int, rest: int
) -> None:
    ids = np.arange(batch * length + 1 + min(rest, batch - 1), dtype=np.uint16)
    streams = Streams(ids, batch, window)
    windows = list(streams.epoch(0, 0))
    assert len(windows) == len(streams) == -(-length // window)
    inputs = torch.cat([tokens for tokens, _ in windows])  # [length, batch]
    targets = torch.cat([targets for _, targets in windows])
    assert torch.equal(targets, inputs + 1)  # the next character of ids that count upwards
    assert torch.equal(inputs.T.flatten(), torch.arange(batch * length))
    assert [t.numel() for _, t in windows] == [streams.characters(s) for s in range(len(streams))]


def test_windows_have_the_length_asked_for_and_the_last_is_short() -> None:
    windows = list(Streams(np.arange(2 * 25 + 1, dtype=np.uint8), 2, 10).epoch(0, 0))
    assert [tuple(tokens.shape) for tokens, _ in windows] == [(10, 2), (10, 2), (5, 2)]
    assert windows[0][0].dtype == windows[0][1].dtype == torch.int64


@pytest.mark.parametrize("step", [0, 1, 3, 4])
def test_an_epoch_goes_on_from_any_step(step: int) -> None:
    streams = Streams(np.arange(200, dtype=np.uint8), 5, 10)
    whole, rest = list(streams.epoch(3, 0)), list(streams.epoch(3, step))
    assert len(whole) == 4
    assert len(rest) == len(whole) - step
    for (tokens, targets), (expected, expected_targets) in zip(rest, whole[step:], strict=True):
        assert torch.equal(tokens, expected)
        assert torch.equal(targets, expected_targets)


def test_a_text_too_short_for_its_streams_is_an_error_that_says_what_to_do() -> None:
    Streams(np.zeros(41, dtype=np.uint8), 4, 10)
    with pytest.raises(CorpusError, match=r"40 characters, too few for 4 streams of 10.*--batch"):
        Streams(np.zeros(40, dtype=np.uint8), 4, 10)


def test_what_is_kept_on_a_device_is_what_is_read() -> None:
    ids = np.arange(230, dtype=np.uint8)
    read, kept = (Streams(ids, 4, 9, slice(1, 3)) for _ in range(2))
    kept.keep("cpu")
    assert kept.rows is not None
    assert kept.rows.nbytes == kept.nbytes()
    for ours, theirs in zip(kept.epoch(0, 0), read.epoch(0, 0), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
