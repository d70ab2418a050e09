"""Reading with and without resets, against reading character by character."""

import math

import numpy as np
import pytest
import torch

from charlm.train.config import ModelConfig
from charlm.train.loop.evaluate import bits_per_character
from charlm.train.model import CharLSTM
from charlm.train.report import reading

IDS = np.random.default_rng(0).integers(0, 7, 203).astype(np.uint8)


@pytest.fixture(scope="module")
def model() -> CharLSTM:
    torch.manual_seed(0)
    return CharLSTM(ModelConfig(7, hidden=6, layers=2)).eval()


@torch.no_grad()
def by_steps(model: CharLSTM, ids: np.ndarray, reset: int | None) -> list[float]:
    state = model.zero_state(1)
    bits = []
    for place in range(len(ids) - 1):
        if reset is not None and place % reset == 0:
            state = model.zero_state(1)
        logits, state = model.step(torch.tensor([int(ids[place])]), state)
        bits.append(-float(logits[0].log_softmax(0)[int(ids[place + 1])]) / math.log(2))
    return bits


@pytest.mark.parametrize("cells", [1 << 22, 7 * 40, 1])
@pytest.mark.parametrize("length", [1, 3, 20, 101, 202, 500])
def test_resets(model: CharLSTM, length: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CELLS", cells)  # however the work is cut
    found = reading.reset_every(model, IDS, length)
    assert found == pytest.approx(by_steps(model, IDS, length), abs=1e-5)


def test_a_segment_as_long_as_the_text_is_never_reset(model: CharLSTM) -> None:
    whole = reading.reset_every(model, IDS, len(IDS) - 1)
    assert whole.mean() == pytest.approx(bits_per_character(model, IDS), abs=1e-5)


@pytest.mark.parametrize("chunk", [8192, 50])
def test_reading_round(model: CharLSTM, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK", chunk)
    length = 2 * len(IDS) + 5
    found = reading.never_reset(model, IDS, length)
    expected = by_steps(model, np.concatenate([IDS, IDS, IDS])[: length + 1], None)
    assert found.bits == pytest.approx(expected, abs=1e-5)
    assert found.places[-1] == length
    assert len(found.places) == -(-length // chunk)
    assert min(*found.hidden, *found.cell) > 0
