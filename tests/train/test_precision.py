"""Lower precision on a GPU: what the settings switch."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from charlm.train.optim.precision import allow_tf32, autocast


def test_tf32_is_switched_on_and_off() -> None:
    for allowed in (True, False):
        allow_tf32(allowed)
        assert torch.backends.cuda.matmul.allow_tf32 is allowed
        assert torch.backends.cudnn.allow_tf32 is allowed


@pytest.mark.parametrize(("asked", "kind"), [("none", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_of_the_precision_asked_for(asked: str, kind: torch.dtype) -> None:
    config: Any = SimpleNamespace(device="cpu", autocast=asked)  # settings keep bf16 to GPUs
    square = torch.ones(2, 2)
    with autocast(config):
        assert (square @ square).dtype is kind
