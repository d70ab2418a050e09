"""The stateful recipe's batches, and how processes share them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.system.errors import CorpusError, SettingsError
from charlm.train.config import TrainingConfig
from charlm.train.loop.batches import Streams, check_shares
from charlm.train.loop.distributed import Group


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
    assert {len(tokens) for tokens, _ in windows[:-1]} <= {window}
    assert windows[0][0].dtype == windows[0][1].dtype == torch.int64
    inputs = torch.cat([tokens for tokens, _ in windows])  # [length, batch]
    targets = torch.cat([targets for _, targets in windows])
    assert torch.equal(targets, inputs + 1)  # the next character of ids that count upwards
    assert torch.equal(inputs.T.flatten(), torch.arange(batch * length))
    assert [t.numel() for _, t in windows] == [streams.characters(s) for s in range(len(streams))]


@pytest.mark.parametrize("step", [0, 1, 3, 4])
def test_an_epoch_goes_on_from_any_step(step: int) -> None:
    streams = Streams(np.arange(200, dtype=np.uint8), 5, 10)
    whole, rest = list(streams.epoch(3, 0)), list(streams.epoch(3, step))
    assert len(whole) == 4
    for (tokens, targets), (expected, expected_targets) in zip(rest, whole[step:], strict=True):
        assert torch.equal(tokens, expected)
        assert torch.equal(targets, expected_targets)


def test_a_text_too_short_for_its_streams_is_an_error_that_says_what_to_do() -> None:
    Streams(np.zeros(41, dtype=np.uint8), 4, 10)
    with pytest.raises(CorpusError, match=r"40 characters.* 4 streams of 10.*`batch_size`"):
        Streams(np.zeros(40, dtype=np.uint8), 4, 10)


def test_what_is_kept_on_a_device_is_what_is_read() -> None:
    ids = np.arange(230, dtype=np.uint8)
    read, kept, too_large = (Streams(ids, 4, 9, slice(1, 3)) for _ in range(3))
    takes = 2 * (read.length + 1)
    kept.keep("cpu", free=4 * takes)
    too_large.keep("cpu", free=4 * takes - 1)
    assert kept.rows is not None
    assert too_large.rows is None
    for ours, theirs in zip(kept.epoch(0, 0), read.epoch(0, 0), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_streams_are_shared_without_gap_or_overlap() -> None:
    ids = np.arange(200, dtype=np.uint8)
    shares = [Streams(ids, 6, 10, Group(rank, 3).share(6)) for rank in range(3)]
    for step, (tokens, targets) in enumerate(Streams(ids, 6, 10).epoch(0, 0)):
        parts = [next(iter(share.epoch(0, step))) for share in shares]
        assert torch.equal(torch.cat([part[0] for part in parts], dim=1), tokens)
        assert torch.equal(torch.cat([part[1] for part in parts], dim=1), targets)
        assert {share.characters(step) for share in shares} == {targets.numel()}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 16}, "make it 15 or 18"),
        ({"batch_size": 2}, "make it 3, or start another number"),
        ({"recipe": "notebook"}, "`recipe` notebook is for one process, and torchrun started 3"),
        ({"device": "cuda", "step": "graph", "batch_size": 3}, "`step` graph is for one process"),
    ],
)
def test_what_three_processes_cannot_share(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_shares(TrainingConfig(**settings), 3)
    check_shares(TrainingConfig(**settings), 1)
