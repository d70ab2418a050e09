"""Lower precision on a GPU: what the settings switch."""

import torch

from charlm.train.config import TrainingConfig
from charlm.train.precision import allow_tf32, autocast


def test_tf32_is_switched_on_and_off() -> None:
    for allowed in (True, False):
        allow_tf32(allowed)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed


def test_autocast_changes_nothing_unless_asked_for() -> None:
    with autocast(TrainingConfig()):
        assert not torch.is_autocast_enabled("cpu")
