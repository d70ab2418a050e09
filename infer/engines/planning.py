"""Which way a job is computed, and why: device, path, precision, threads, width and block."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from charlm.data.system.errors import CharlmError, ModelFileError, SettingsError
from charlm.export.contract import BYTE_VOCABULARY, GENERATE, SEQUENCE, sibling_path
from charlm.export.contract import native as contract_native
from charlm.infer.model.open import Model
from charlm.infer.model.providers import ONLY_ON, check_precision
from charlm.infer.request import Request
from charlm.infer.sampling.filters import NO_FILTERS

if TYPE_CHECKING:
    from charlm.infer.engines.base import Engine, Predictor, Reader, TextReader

NATIVE, BLOCKS, STEP = "native operator", "blocks", "step loop"
WAYS = ("native", "blocks", "steps")
# On an H200 16 texts were drawn at 1.1 million characters/s, and 2,112 at 158 million; its 16 cores
# draw 64 texts at ten million. Starting the device, and copies, take about half a second.
WORTH_CUDA_STREAMS, WORTH_CUDA_CHARACTERS = 512, 10_000_000
# Opening the graph of many steps takes 3 ms; a character by it saves 5 µs alone, 0.4 among many. A
# larger model takes longer to open and saves no more.
MEASURED_SIZE = 850_000  # bytes
WORTH_BLOCKS_ALONE, WORTH_BLOCKS_TOGETHER = 600, 8000
# About 3 ms each alone, and by steps, which a window makes slow, few characters: past it nothing is
# gained, and a reader would see text jump.
LONGEST_ALONE = {NATIVE: 1024, BLOCKS: 256, STEP: 8}
LONGEST_TOGETHER = {NATIVE: 256, BLOCKS: 64, STEP: 64}
LONGEST_ON_GPU = 4096  # of many texts: 100 to 200 ms of an H200's work, against 15 of copies
# Where the speed of a core levels off (LSTM-192), and that of a GPU's multiprocessor; two such
# batches take turns on a GPU.
DEFAULT_WIDTH, WIDTH_OF_PROCESSOR = 256, 2 * 128
MAX_WIDTH = 1 << 16
STATE_COPIES = 4  # h and c twice in the stepper, the same again where streams are exchanged
GATE_ROWS = 12  # what a step holds for each unit meanwhile
LOGIT_ROWS = 6  # logits, and what sampling makes of them
STREAM_BYTES = 4096  # a stream's own objects
ID_BYTES, WIDE_ID_BYTES = 1, 4 + 2  # of a character in a block; wide ids are copied once


@dataclass(frozen=True)
class Work:
    """What is asked for, as far as it is known.

    Attributes:
        window: characters that each is drawn from, of all texts; None: all before it.
    """

    streams: int | None = 1  # texts in all; None: any number, as from a file of prompts
    length: int = 200  # characters of each; 0: without end
    filters: bool = False  # top-k, top-p or min-p is set for all of them
    window: int | None = None

    @property
    def characters(self) -> float:
        """How many are drawn at most."""
        if self.streams is None or self.length == 0:
            return float("inf")
        return float(self.streams * self.length)

    @classmethod
    def of(cls, request: Request, streams: int | None = 1) -> "Work":
        """So many texts of one request."""
        return cls(streams, request.length, request.filters != NO_FILTERS, request.window)


def provider_for(work: Work, wanted: str, precision: str = "float32") -> tuple[str, str | None]:
    """The provider to open a model with, and why, where that is not what was asked for.

    `auto` leaves the GPU alone where a job is too small for it, or the precision is the CPU's.
    """
    if wanted != "auto":
        return wanted, None
    if precision in ONLY_ON:
        return ONLY_ON[precision], f"{ONLY_ON[precision]}, which alone has {precision}"
    if work.window is not None:
        return "cpu", "cpu, where a window is stepped through"
    streams = float("inf") if work.streams is None else work.streams
    if streams >= WORTH_CUDA_STREAMS and work.characters >= WORTH_CUDA_CHARACTERS:
        return "auto", None
    return "cpu", (
        f"cpu, since a GPU pays from {WORTH_CUDA_STREAMS} texts and "
        f"{WORTH_CUDA_CHARACTERS:,} characters on"
    )


@dataclass(frozen=True)
class Plan:
    """How it is done."""

    path: str  # `NATIVE`, `BLOCKS` or `STEP`
    precision: str  # one of `PRECISIONS`
    threads: int  # that draw at once, each with its share of the streams
    longest_block: int  # steps in one run at most
    reasons: tuple[str, ...]  # why, a line each
    width: int  # texts side by side at most
    window: int | None  # characters that each is drawn from; None: all before it


def choose(
    work: Work,
    model: Model,
    *,
    precision: str = "float32",
    threads: int | None = None,
    via: str = "auto",
    width: int | None = None,
) -> Plan:
    """The plan for some work on an open model.

    Args:
        threads: as asked for; None: what is best.
        via: `auto`, or one of `WAYS` to compare them.
        width: how many texts run side by side, as asked for; None: what is best.

    Raises:
        SettingsError: an unknown precision or way, or one that the device or a window has not; a
            width out of range, or more than memory holds.
        ModelFileError: the model has no graph of this precision.
    """
    if via not in ("auto", *WAYS):
        raise SettingsError(f"via is auto, {', '.join(WAYS)}, not {via!r}")
    check_precision(precision, model.device)
    if precision != "float32":
        if work.window is not None:
            raise SettingsError("`window` is stepped through in float32: leave out `precision`")
        model.metadata.check_loss(precision)
    path, why = _window_path(work.window, via, model) if work.window is not None else (
        _path(work, model, precision, via)
    )  # fmt: skip
    shared = path == NATIVE and model.shares_steps(precision)
    count, why_threads = _threads(work, model.device, threads, shared)
    block = (LONGEST_ALONE if work.streams == 1 else LONGEST_TOGETHER)[path]
    if model.device == "cuda" and work.streams != 1:
        block = LONGEST_ON_GPU
    reasons = [f"path: {path}, {why}", f"precision: {precision}"]
    if path != STEP:
        reasons.append(f"block: up to {block} characters of a text in one run")
        reasons.append(f"threads: {count}, {why_threads}")
    side_by_side = 1
    if work.streams != 1 or width is not None:
        most = checked_width(width, model, count, work.window)
        side_by_side = most if work.streams is None else min(most, work.streams)
        reasons.append(f"width: up to {side_by_side} texts side by side")
    return Plan(path, precision, count, block, tuple(reasons), side_by_side, work.window)


def _path(work: Work, model: Model, precision: str, via: str) -> tuple[str, str]:
    """The way for some work without a window."""
    if model.device == "cuda":
        if via in ("blocks", "steps"):
            raise SettingsError(f"via {via} runs on the CPU: give provider cpu")
        return NATIVE, "on the GPU"
    if via == "steps":
        if precision != "float32":
            raise SettingsError(f"the step loop has no {precision}: give it float32")
        return STEP, "as asked for"
    missing = model.without_native
    if via != "blocks" and missing is None:
        return NATIVE, f"which computes with {contract_native.instruction_set()}"
    if via == "blocks":
        if precision != "float32":
            raise SettingsError(f"the graph of many steps has no {precision}: give it float32")
        if work.filters:
            raise SettingsError("the graph of many steps has no top-k, top-p or min-p")
        if not model.has(GENERATE):
            raise ModelFileError("the model has no graph of many steps: charlm-export writes it")
        return BLOCKS, "as asked for"
    if via == "native" or precision == "int8":
        asked = "`precision` int8" if precision == "int8" else "via native"
        raise SettingsError(f"{asked} can't be had: {missing}")
    return _portable_path(work, model, f"since {missing}")


def _portable_path(work: Work, model: Model, why: str) -> tuple[str, str]:
    """The way by graphs of ONNX's own ops."""
    if not model.has(GENERATE):
        return STEP, f"{why}, and the model has no graph of many steps (charlm-export writes it)"
    # The graph of many steps has no filters, and the requests of a file may ask for some.
    if work.filters or work.streams is None:
        return STEP, f"{why}, and the graph of many steps has no filters"
    size = sibling_path(model.path, GENERATE).stat().st_size
    worth = WORTH_BLOCKS_ALONE if work.streams == 1 else WORTH_BLOCKS_TOGETHER
    worth = round(worth * max(1.0, size / MEASURED_SIZE))
    if work.characters < worth:
        return STEP, f"{why}, and another graph pays from {worth:,} characters on"
    return BLOCKS, why


def _window_path(window: int, via: str, model: Model) -> tuple[str, str]:
    if model.device == "cuda":
        raise SettingsError("`window` is stepped through on the CPU: give `provider` cpu")
    if via in ("native", "blocks"):
        raise SettingsError("a window is stepped through: it has no blocks, leave them out")
    return STEP, f"since a window of {window} keeps {window} staggered states of each text"


def _threads(work: Work, device: str, wanted: int | None, shared: bool) -> tuple[int, str]:
    if device != "cpu":
        return 1, "which feeds the device"
    if work.streams == 1 and not shared:
        return 1, "since one text is one step after another"
    if wanted is not None:
        return wanted, "as asked for"
    from charlm.data.system.cores import usable_cores

    each = "which share the weights of a step" if work.streams == 1 else "one a core"
    return usable_cores(), each


def checked_width(
    width: int | None, model: Model, threads: int = 1, window: int | None = None
) -> int:
    """The number of streams to run side by side; None: what fills the device and fits into memory.

    Args:
        threads: that draw at once, each with its share of the streams.
        window: as of `WindowStepper`: so many states for each stream.

    Raises:
        SettingsError: given, and out of range or more than this machine's memory holds.
    """
    from charlm.data.system.memory import memory_bytes

    each, there = stream_bytes(model, window), memory_bytes()
    if width is None:
        wanted = DEFAULT_WIDTH * threads  # each thread has its share
        if model.device == "cuda":
            wanted = WIDTH_OF_PROCESSOR * contract_native.gpu()[0]
        held = MAX_WIDTH if there is None else there // each
        return max(1, min(wanted // (window or 1), held, MAX_WIDTH))
    most, beside = MAX_WIDTH // (window or 1), f" with `window` {window}" if window else ""
    if not 1 <= width <= most:
        raise SettingsError(f"`width` is from 1 to {most}{beside}, not {width}")
    needed = width * each
    if there is not None and needed > there:
        raise SettingsError(
            f"`width` {width} needs about {needed / 1e9:.1f} GB of memory of {there / 1e9:.1f} GB: "
            f"this machine holds {there // each} streams of this model{beside} at most"
        )
    return width


def stream_bytes(model: Model, window: int | None = None) -> int:
    """About how much memory one more stream takes."""
    metadata = model.metadata
    units = metadata.layers * metadata.hidden * 2 * STATE_COPIES + metadata.hidden * GATE_ROWS
    state = 4 * (units + len(metadata.vocabulary) * LOGIT_ROWS)
    ids = LONGEST_ON_GPU if model.device == "cuda" else LONGEST_TOGETHER[NATIVE]
    ids *= WIDE_ID_BYTES if len(metadata.vocabulary) > BYTE_VOCABULARY else ID_BYTES
    return state * (window or 1) + STREAM_BYTES + ids


def engine_of(model: Model, plan: Plan) -> "Engine":
    """What draws by this plan."""
    if plan.path == NATIVE:
        from charlm.infer.engines.native import NativeEngine
        from charlm.infer.engines.pinned import pinned_for

        session = model.native(plan.precision, plan.threads)
        return NativeEngine(session, model.metadata, pinned_for(model.device))
    if plan.path == BLOCKS:
        from charlm.infer.engines.scan import ScanEngine

        vocabulary = len(model.metadata.vocabulary)
        return ScanEngine(model.sibling(GENERATE), vocabulary, plan.threads)
    from charlm.infer.engines.step import StepEngine

    return StepEngine(model, plan.window)


def reader_of(model: Model, plan: Plan) -> "Reader":
    """What reads prompts for this plan."""
    if plan.path == NATIVE:
        from charlm.infer.engines.native import NativeReader

        return NativeReader(model.native(plan.precision, plan.threads), model.metadata)
    from charlm.infer.engines.reader import PromptReader, WindowReader

    if plan.window is not None:
        return WindowReader(model, plan.window)
    return PromptReader(model, open_text_reader(model, plan.precision))


def open_text_reader(model: Model, precision: str = "float32", threads: int = 1) -> "TextReader":
    """What reads texts, the fastest that the model and this machine allow.

    Args:
        precision: `float32`; `int8` where the native operator is, `fp16` on CUDA.

    Raises:
        SettingsError: the precision is unknown, or can't be had here.
        ModelFileError: it costs too much, or a graph is damaged or of other weights.
    """
    check_precision(precision, model.device)
    model.metadata.check_loss(precision)
    if model.uses_native(precision):
        from charlm.infer.engines.native import NativeReader
        from charlm.infer.engines.pinned import pinned_for

        session = model.native(precision, threads)
        return NativeReader(session, model.metadata, pinned_for(model.device))
    if precision != "float32":
        raise SettingsError(f"`precision` {precision} can't be had: {model.without_native}")
    from charlm.infer.engines.reader import GraphTextReader, StepTextReader

    if model.has(SEQUENCE):
        return GraphTextReader(model.sibling(SEQUENCE, threads))
    return StepTextReader(model)


def open_predictor(model: Model) -> "Predictor":
    """What gives all log-probabilities in a text: in float32, on the CPU.

    Raises:
        ModelFileError: the model's weights are damaged.
    """
    if model.without_native is None:
        from charlm.infer.engines.native import NativeReader

        return NativeReader(model.native("float32", 1, "cpu"), model.metadata)
    from charlm.infer.engines.reader import StepTextReader

    return StepTextReader(model)


def refusal(plan: Plan, request: Request) -> CharlmError | None:
    """Why a request can't be served by this plan, if it can't.

    Not every path has filters, and all streams of a batch have one window.
    """
    if request.window != plan.window:
        return SettingsError(
            f"window {request.window} in a batch whose window is {plan.window}: "
            f"batch() is told by its work, Work(None, window={request.window})"
        )
    if plan.path == BLOCKS and request.filters != NO_FILTERS:
        return SettingsError("top-k, top-p and min-p in a batch that was said to have none")
    return None
