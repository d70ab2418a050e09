"""How many streams run side by side: the default, and what memory allows."""

import os

from charlm.data.errors import SettingsError
from charlm.infer.artifact import Model

# On the CPU the speed of a core levels off here: 90,000 steps/s alone, 470,000 at 64 streams,
# 560,000 at 256 and at 512 (LSTM-192). A GPU is filled by thousands.
DEFAULT_WIDTHS = {"cpu": 256, "cuda": 4096}
MAX_WIDTH = 1 << 16
STATE_COPIES = 4  # h and c twice in the stepper, the same again where streams are exchanged
GATE_ROWS = 12  # what a step holds for each unit meanwhile
LOGIT_ROWS = 6  # logits, and what sampling makes of them
STREAM_BYTES = 4096  # a stream's own objects


def checked_width(width: int | None, model: Model, threads: int = 1) -> int:
    """The number of streams to run side by side; None chooses what fits.

    Raises:
        SettingsError: given, and out of range or more than this machine's memory holds.
    """
    if width is None:
        return default_width(model, threads)
    if not 1 <= width <= MAX_WIDTH:
        raise SettingsError(f"--width is from 1 to {MAX_WIDTH}, not {width}")
    needed, there = width * stream_bytes(model), memory_bytes()
    if there is not None and needed > there:
        raise SettingsError(
            f"--width {width} needs about {needed / 1e9:.1f} GB of memory of {there / 1e9:.1f} GB: "
            f"this machine holds {there // stream_bytes(model)} streams of this model at most"
        )
    return width


def default_width(model: Model, threads: int = 1) -> int:
    """As many streams as fill the device, or as memory holds, if that is fewer."""
    wanted = DEFAULT_WIDTHS[model.device]
    if model.device == "cpu":  # each thread has its share; a GPU is one
        wanted *= threads
    there = memory_bytes()
    held = MAX_WIDTH if there is None else there // stream_bytes(model)
    return max(1, min(wanted, held, MAX_WIDTH))


def stream_bytes(model: Model) -> int:
    """About how much memory one more stream takes."""
    metadata = model.metadata
    units = metadata.layers * metadata.hidden * 2 * STATE_COPIES + metadata.hidden * GATE_ROWS
    return 4 * (units + len(metadata.vocabulary) * LOGIT_ROWS) + STREAM_BYTES


def memory_bytes() -> int | None:
    """The machine's memory, or None where Python can't tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows; an unknown name; no answer
        return None
