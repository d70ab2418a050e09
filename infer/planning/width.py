"""How many streams run side by side: the default, and what memory allows."""

from charlm.data.system.errors import SettingsError
from charlm.data.system.memory import memory_bytes
from charlm.infer.model.artifact import Model

# Where the speed of a core levels off (LSTM-192), and that of a GPU's multiprocessor; two such
# batches take turns on a GPU.
DEFAULT_WIDTH, WIDTH_OF_PROCESSOR = 256, 2 * 128
MAX_WIDTH = 1 << 16
STATE_COPIES = 4  # h and c twice in the stepper, the same again where streams are exchanged
GATE_ROWS = 12  # what a step holds for each unit meanwhile
LOGIT_ROWS = 6  # logits, and what sampling makes of them
STREAM_BYTES = 4096  # a stream's own objects


def checked_width(
    width: int | None, model: Model, threads: int = 1, window: int | None = None
) -> int:
    """The number of streams to run side by side; None chooses what fits.

    Args:
        width: as asked for.
        model: an open model.
        threads: that draw at once, each with its share of the streams.
        window: as of `WindowStepper`: so many states for each stream.

    Raises:
        SettingsError: given, and out of range or more than this machine's memory holds.
    """
    if width is None:
        return default_width(model, threads, window)
    most, beside = MAX_WIDTH // (window or 1), f" with --window {window}" if window else ""
    if not 1 <= width <= most:
        raise SettingsError(f"--width is from 1 to {most}{beside}, not {width}")
    each = stream_bytes(model, window)
    needed, there = width * each, memory_bytes()
    if there is not None and needed > there:
        raise SettingsError(
            f"--width {width} needs about {needed / 1e9:.1f} GB of memory of {there / 1e9:.1f} GB: "
            f"this machine holds {there // each} streams of this model{beside} at most"
        )
    return width


def default_width(model: Model, threads: int = 1, window: int | None = None) -> int:
    """As many streams as fill the device, or as memory holds, if that is fewer."""
    if model.device == "cuda":
        from charlm.export.contract_native import gpu

        wanted = WIDTH_OF_PROCESSOR * gpu()[0]
    else:
        wanted = DEFAULT_WIDTH * threads  # each thread has its share
    there = memory_bytes()
    held = MAX_WIDTH if there is None else there // stream_bytes(model, window)
    return max(1, min(wanted // (window or 1), held, MAX_WIDTH))


def stream_bytes(model: Model, window: int | None = None) -> int:
    """About how much memory one more stream takes."""
    metadata = model.metadata
    units = metadata.layers * metadata.hidden * 2 * STATE_COPIES + metadata.hidden * GATE_ROWS
    state = 4 * (units + len(metadata.vocabulary) * LOGIT_ROWS)
    return state * (window or 1) + STREAM_BYTES
