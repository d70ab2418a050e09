"""The notebook recipe's batches."""

import numpy as np
import pytest
import torch

from charlm.data.system.errors import CorpusError
from charlm.train.loop.windows import Windows

IDS = np.arange(250, dtype=np.uint8)


def starts(windows: Windows, epoch: int) -> list[int]:
    return torch.cat([tokens[0] for tokens, _ in windows.epoch(epoch, 0)]).tolist()


def test_as_many_windows_as_the_notebook_had() -> None:
    assert Windows(np.zeros(2_882_630, dtype=np.uint8), 192, seed=0).windows == 960_864


@pytest.mark.parametrize(("characters", "windows"), [(41, 1), (43, 1), (44, 2), (47, 3)])
def test_a_window_needs_its_target(characters: int, windows: int) -> None:
    assert Windows(IDS[:characters], 4, seed=0).windows == windows


def test_a_window_is_forty_characters_and_the_one_after_them() -> None:
    windows = Windows(IDS, 16, seed=0)
    for step, (tokens, targets) in enumerate(windows.epoch(0, 0)):
        assert tokens.shape == (40, len(targets))
        assert len(targets) == windows.characters(step)
        assert tokens.dtype == targets.dtype == torch.int64
        assert torch.equal(tokens, tokens[0] + torch.arange(40)[:, None])
        assert torch.equal(targets, tokens[0] + 40)


def test_an_epoch_reads_every_third_window_once() -> None:
    assert sorted(starts(Windows(IDS, 16, seed=0), 0)) == list(range(0, 210, 3))


def test_shuffles_differ_by_epoch_and_seed_and_repeat() -> None:
    first = starts(Windows(IDS, 16, seed=0), 0)
    assert first != sorted(first)
    assert first == starts(Windows(IDS, 16, seed=0), 0)
    assert first != starts(Windows(IDS, 16, seed=0), 1)
    assert first != starts(Windows(IDS, 16, seed=1), 0)


@pytest.mark.parametrize("characters", [41, 300, 1_000, 250_000])
def test_the_order_is_numpys(characters: int) -> None:
    """So it is the same on every machine, and a run can be resumed on another."""
    windows = Windows(np.arange(characters), 1000, seed=4)
    order = np.random.default_rng((4, 2)).permutation(windows.windows)
    assert starts(windows, 2) == (order * 3).tolist()


@pytest.mark.parametrize("step", [1, 4])
def test_an_epoch_goes_on_from_any_step(step: int) -> None:
    windows = Windows(IDS, 16, seed=5)
    whole, rest = list(windows.epoch(2, 0)), list(windows.epoch(2, step))
    assert len(windows) == len(whole) == 5
    assert len(rest) == len(whole) - step
    for (tokens, targets), (expected, expected_targets) in zip(rest, whole[step:], strict=True):
        assert torch.equal(tokens, expected)
        assert torch.equal(targets, expected_targets)


def test_a_text_without_one_window_is_an_error() -> None:
    with pytest.raises(CorpusError, match="40 characters, too few for a window of 40"):
        Windows(IDS[:40], 4, seed=0)
