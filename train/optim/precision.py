"""Lower precision on a GPU: bfloat16 by autocast, and TF32 products."""

import torch

from charlm.train.config import TrainingConfig


def autocast(config: TrainingConfig) -> torch.autocast:
    """The context of a forward pass; with `autocast` none it changes nothing.

    Products outside the LSTM are in bfloat16; Torch gives cuDNN's LSTM float16 in its place, which
    is why `step` scales the loss.
    """
    return torch.autocast(config.device, torch.bfloat16, enabled=config.autocast == "bf16")


def allow_tf32(allowed: bool) -> None:
    """Let CUDA's products and cuDNN round their factors to TF32, or not: it is the process's."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
