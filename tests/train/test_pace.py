"""The guess at how often a budget of minutes lets a text be read."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from torch import Tensor

from charlm.data.text.corpus import Splits
from charlm.train.config import ModelConfig, TrainingConfig
from charlm.train.evaluate import JUDGED
from charlm.train.model import CharLSTM, State
from charlm.train.setup import pace

IDS = np.tile(np.arange(4, dtype=np.uint8), 1202)
SPLITS = Splits(IDS[:4801], IDS[:409], IDS[:409])  # 40 steps of 4 x 30, and a validation of a tenth
MODEL = ModelConfig(4, hidden=8)
MINUTE = TrainingConfig(minutes=1.0, batch_size=4, seq_len=30)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by an eighth of a second whenever it is looked at."""
    looks = count()
    monkeypatch.setattr("time.perf_counter", lambda: next(looks) / 8)


def test_a_minute_of_steps_and_evaluations() -> None:
    # Steps of 1/8 s, and 1/8 s for 4,096 characters of validation: 5 + 1/80 s an epoch.
    assert pace.passes(MODEL, MINUTE, SPLITS) == 12
    assert pace.passes(MODEL, replace(MINUTE, minutes=10.0), SPLITS) == 120


def test_evaluations_take_their_time() -> None:
    much = SPLITS._replace(validation=np.resize(IDS, 400 * 409))  # 5 s
    assert pace.passes(MODEL, MINUTE, much) == 6
    assert pace.passes(MODEL, replace(MINUTE, final=True), much) == 12


def test_one_pass_at_least() -> None:
    assert pace.passes(MODEL, replace(MINUTE, minutes=0.001), SPLITS) == 1


def test_of_a_very_long_split_no_more_than_is_scored_takes_time() -> None:
    longest = SPLITS._replace(validation=np.zeros(JUDGED, dtype=np.uint8))
    longer = SPLITS._replace(validation=np.zeros(10 * JUDGED, dtype=np.uint8))
    hour = replace(MINUTE, minutes=60.0)
    assert pace.passes(MODEL, hour, longer) == pace.passes(MODEL, hour, longest) > 1


def test_each_process_has_its_share_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = set()
    forward = CharLSTM.forward

    def counted(model: CharLSTM, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        if model.training:
            streams.add(tokens.shape[1])
        return forward(model, tokens, state)

    monkeypatch.setattr(CharLSTM, "forward", counted)
    assert pace.passes(MODEL, MINUTE, SPLITS, processes=2) == 12
    assert streams == {2}
