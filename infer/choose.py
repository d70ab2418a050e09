"""Which way a job is computed, and why: path, precision, threads, width and block.

The constants were measured with LSTM-192 on one core of a server (`benchmarks/NOTES.md`,
`python -m charlm.benchmarks.thresholds`). They say where two ways take as long, which moves little
from one machine to the next; they are no forecast of speed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from charlm.data.cores import usable_cores
from charlm.data.errors import ModelFileError, SettingsError
from charlm.export.contract_siblings import (
    FILTERED,
    GENERATE,
    INT8,
    INT8_ORT,
    SEQUENCE_FP16,
    SEQUENCE_INT8,
    UNROLLED,
    UNROLLED_FP16,
    Kind,
)
from charlm.infer.siblings import Siblings
from charlm.infer.work import ONLY_ON, Work

PRECISIONS = ("float32", "int8", "fp16")
# What a precision can't do without: to draw and to read prompts, and to step through windows.
GRAPHS = {"int8": (INT8, SEQUENCE_INT8), "fp16": (UNROLLED_FP16,)}
WINDOW_GRAPHS = {"int8": (SEQUENCE_INT8,), "fp16": (SEQUENCE_FP16,)}
STEP, BLOCKS, DEVICE_BLOCKS = "step loop", "blocks", "blocks on the device"
WAYS = ("steps", "blocks")
# Opening the graph of many steps takes 3 ms; a character by it saves 5 µs alone, 0.4 among many. A
# larger model takes longer to open and saves no more.
MEASURED_SIZE = 850_000  # bytes
WORTH_BLOCKS_ALONE, WORTH_BLOCKS_TOGETHER = 600, 8000
# Opening the graph that reads whole texts takes 2 to 3 ms; a character by it saves 5 µs.
WORTH_SEQUENCE = 600
# The LSTM's products by com.microsoft ops are slower than ONNX's own below so many streams.
WORTH_ORT_OPS = 16
LONGEST_BLOCK_ALONE = 256  # 2.5 ms: past it nothing is gained, and a reader would see text jump
LONGEST_BLOCK_TOGETHER = 64


@dataclass(frozen=True)
class Plan:
    """How it is done.

    Attributes:
        path: `STEP`, `BLOCKS` or `DEVICE_BLOCKS`.
        precision: one of `PRECISIONS`.
        threads: that draw at once, each with its share of the streams.
        longest_block: steps in one run at most.
        reasons: why, a line each.
        session_threads: of each of those, within one run.
        width: texts side by side at most.
        window: characters that each is drawn from; None: all before it.
    """

    path: str
    precision: str
    threads: int
    longest_block: int
    reasons: tuple[str, ...]
    session_threads: int = 1
    width: int = 1
    window: int | None = None


def choose(
    work: Work,
    siblings: Siblings,
    device: str,
    *,
    precision: str = "float32",
    threads: int | None = None,
    session_threads: int = 1,
    via: str = "auto",
) -> Plan:
    """The plan for some work on an open model.

    Args:
        work: what is asked for.
        siblings: the graphs that stand beside the model.
        device: `"cpu"` or `"cuda"`, on which the model is open.
        precision: one of `PRECISIONS`.
        threads: as asked for; None: what is best.
        session_threads: that the model's size makes worth while within one run.
        via: `auto`, or `steps` or `blocks` to compare the two.

    Raises:
        SettingsError: an unknown precision or way, or one that the device or a window has not.
        ModelFileError: the model has no graph of this precision.
    """
    graphs = GRAPHS if work.window is None else WINDOW_GRAPHS
    _check_precision(precision, device, siblings, graphs)
    alone = work.streams == 1
    count, inner, why_threads = _threads(work, device, threads, session_threads)
    if work.window is not None:
        path, why_path = _window_path(work.window, via)
    else:
        path, why_path = _path(work, siblings, device, precision)
        if via != "auto":
            path, why_path = _asked(via, siblings, device, precision, path), "as asked for"
    block = LONGEST_BLOCK_ALONE if alone else LONGEST_BLOCK_TOGETHER
    reasons = [f"path: {path}, {why_path}", f"precision: {precision}"]
    if path != STEP:
        reasons.append(f"block: up to {block} characters of a text in one run")
        reasons.append(f"threads: {count * inner}, {why_threads}")
    return Plan(path, precision, count, block, tuple(reasons), inner, window=work.window)


def generate_kind(siblings: Siblings, precision: str, streams: int) -> Kind:
    """The graph for so many streams in one run, without filters."""
    if precision == "int8":
        ort = streams >= WORTH_ORT_OPS and INT8_ORT in siblings
        return INT8_ORT if ort else INT8
    return GENERATE


def _window_path(window: int, via: str) -> tuple[str, str]:
    _check_way(via)
    if via == "blocks":
        raise SettingsError("a window is stepped through: it has no blocks, leave them out")
    return STEP, f"since a window of {window} keeps {window} staggered states of each text"


def _path(work: Work, siblings: Siblings, device: str, precision: str) -> tuple[str, str]:
    if device == "cuda":
        return _cuda_path(work, siblings, precision)
    if precision != "float32":
        return BLOCKS, f"the one that has {precision}"
    if GENERATE not in siblings:
        return STEP, "since the model has no graph of many steps (charlm-export writes it)"
    if work.filters:
        return STEP, "since filters sort, and NumPy sorts as fast as the graph, or faster"
    if work.streams != 1 and FILTERED not in siblings:
        return STEP, "since some may have filters, and the model has no graph for those"
    worth = WORTH_BLOCKS_ALONE if work.streams == 1 else WORTH_BLOCKS_TOGETHER
    worth = round(worth * max(1.0, siblings.size(GENERATE) / MEASURED_SIZE))
    if work.characters < worth:
        return STEP, f"since another graph pays from {worth:,} characters on"
    return BLOCKS, f"since {worth:,} characters or more are drawn"


def _cuda_path(work: Work, siblings: Siblings, precision: str) -> tuple[str, str]:
    if precision == "fp16":
        if work.filters:
            raise SettingsError(
                "--precision fp16 has no top-k, top-p or min-p: leave them out, or draw in float32"
            )
        return DEVICE_BLOCKS, "whose state never leaves the device"
    # Not the CPU's graph of many steps: it leans on the order in which ArgMin takes equals.
    if UNROLLED not in siblings:
        return STEP, "since the model has no graph for CUDA (charlm-export --cuda writes it)"
    if work.filters and FILTERED not in siblings:
        return STEP, "since the model has no graph with filters (charlm-export writes it)"
    return DEVICE_BLOCKS, "whose state never leaves the device"


def _asked(via: str, siblings: Siblings, device: str, precision: str, path: str) -> str:
    _check_way(via)
    if via == "steps":
        if precision != "float32":
            raise SettingsError(f"the step loop has no {precision}: give it float32")
        return STEP
    if device == "cuda":
        if path != DEVICE_BLOCKS:
            raise ModelFileError("the model has no graph for CUDA: charlm-export --cuda writes it")
        return DEVICE_BLOCKS
    if precision == "float32" and GENERATE not in siblings:
        raise ModelFileError("the model has no graph of many steps: charlm-export writes it")
    return BLOCKS


def _check_way(via: str) -> None:
    if via not in ("auto", *WAYS):
        raise SettingsError(f"via is auto, {' or '.join(WAYS)}, not {via!r}")


def _threads(work: Work, device: str, wanted: int | None, inner: int) -> tuple[int, int, str]:
    """Threads side by side, threads within each, and why."""
    if device != "cpu":
        return 1, 1, "which feeds the device"
    if work.streams == 1:
        return 1, inner, "since one text is one step after another"
    if wanted is not None:
        return wanted, 1, "as asked for"
    return usable_cores(), 1, "one a core"


def _check_precision(
    precision: str, device: str, siblings: Siblings, graphs: Mapping[str, tuple[Kind, ...]]
) -> None:
    if precision not in PRECISIONS:
        raise SettingsError(f"--precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "float32":
        return
    needed = ONLY_ON[precision]
    if device != needed:
        raise SettingsError(f"--precision {precision} runs with --provider {needed} only")
    if any(kind not in siblings for kind in graphs[precision]):
        raise ModelFileError(
            f"the model has no {precision} graphs beside it: "
            f"charlm-export --{precision} writes them"
        )
