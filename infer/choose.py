"""Which way a job is computed, and why: path, precision, threads, width and block.

The constants were measured by `charlm-bench` (see `benchmarks/results/` and `benchmarks/NOTES.md`)
with LSTM-192 on one core of a server. They say where two ways take as long, which moves little
from one machine to the next; they are no forecast of speed.
"""

from dataclasses import dataclass

from charlm.data.errors import ModelFileError, SettingsError
from charlm.export.contract_siblings import (
    FILTERED,
    GENERATE,
    INT8,
    INT8_ORT,
    SEQUENCE_INT8,
    UNROLLED,
    UNROLLED_FP16,
    Kind,
)
from charlm.infer.cores import usable_cores
from charlm.infer.siblings import Siblings

PRECISIONS = ("float32", "int8", "fp16")
STEP, BLOCKS, DEVICE_BLOCKS = "step loop", "blocks", "blocks on the device"
WAYS = {"steps": STEP, "blocks": BLOCKS}
# Opening the graph of many steps takes 3 ms; a character by it saves 5 µs alone, 0.4 among many.
WORTH_BLOCKS_ALONE, WORTH_BLOCKS_TOGETHER = 600, 8000
# Opening the graph that reads whole texts takes 2 to 3 ms; a character by it saves 5 µs.
WORTH_SEQUENCE = 600
# The LSTM's products by com.microsoft ops are slower than ONNX's own below so many streams.
WORTH_ORT_OPS = 16
LONGEST_BLOCK_ALONE = 256  # 2.5 ms: past it nothing is gained, and a reader would see text jump
LONGEST_BLOCK_TOGETHER = 64
# A GPU draws one stream more slowly than a CPU, and starting CUDA takes a second or more. These
# two follow from the design's figures (30,000 characters/s a stream); no device has confirmed them.
WORTH_CUDA_STREAMS, WORTH_CUDA_CHARACTERS = 64, 2_000_000


@dataclass(frozen=True)
class Work:
    """What is asked for, as far as it is known.

    Attributes:
        streams: texts in all; None: any number, as from a file of prompts.
        length: characters of each; 0: without end.
        filters: top-k, top-p or min-p is set for all of them.
    """

    streams: int | None = 1
    length: int = 200
    filters: bool = False

    @property
    def characters(self) -> float:
        """How many are drawn at most."""
        if self.streams is None or self.length == 0:
            return float("inf")
        return float(self.streams * self.length)


@dataclass(frozen=True)
class Plan:
    """How it is done.

    Attributes:
        path: `STEP`, `BLOCKS` or `DEVICE_BLOCKS`.
        precision: one of `PRECISIONS`.
        threads: that draw at once, each with its share of the streams.
        longest_block: steps in one run at most.
        reasons: why, a line each.
    """

    path: str
    precision: str
    threads: int
    longest_block: int
    reasons: tuple[str, ...]


def provider_for(work: Work, wanted: str) -> tuple[str, str | None]:
    """The provider to open a model with, and why, where that is not what was asked for.

    `auto` leaves the GPU alone where a job is too small for it.
    """
    if wanted != "auto":
        return wanted, None
    streams = float("inf") if work.streams is None else work.streams
    if streams >= WORTH_CUDA_STREAMS and work.characters >= WORTH_CUDA_CHARACTERS:
        return "auto", None
    return "cpu", (
        f"the CPU, since a GPU pays from {WORTH_CUDA_STREAMS} texts and "
        f"{WORTH_CUDA_CHARACTERS:,} characters on"
    )


def choose(
    work: Work,
    siblings: Siblings,
    device: str,
    *,
    precision: str = "float32",
    threads: int | None = None,
    via: str = "auto",
) -> Plan:
    """The plan for some work on an open model.

    Args:
        work: what is asked for.
        siblings: the graphs that stand beside the model.
        device: `"cpu"` or `"cuda"`, on which the model is open.
        precision: one of `PRECISIONS`.
        threads: as asked for; None: what is best.
        via: `auto`, or `steps` or `blocks` to compare the two.

    Raises:
        SettingsError: an unknown precision or way, or one that the device has not.
        ModelFileError: the model has no graph of this precision.
    """
    _check_precision(precision, device, siblings)
    alone = work.streams == 1
    count, why_threads = _threads(work, device, threads)
    path, why_path = _path(work, siblings, device, precision)
    if via != "auto":
        path, why_path = _asked(via, siblings, device, precision, path), "as asked for"
    block = LONGEST_BLOCK_ALONE if alone else LONGEST_BLOCK_TOGETHER
    reasons = [f"path: {path}, {why_path}", f"precision: {precision}"]
    if path != STEP:
        reasons.append(f"block: up to {block} characters of a text in one run")
        reasons.append(f"threads: {count}, {why_threads}")
    return Plan(path, precision, count, block, tuple(reasons))


def generate_kind(siblings: Siblings, precision: str, streams: int) -> Kind:
    """The graph for so many streams in one run, without filters."""
    if precision == "int8":
        ort = streams >= WORTH_ORT_OPS and INT8_ORT in siblings
        return INT8_ORT if ort else INT8
    return GENERATE


def _path(work: Work, siblings: Siblings, device: str, precision: str) -> tuple[str, str]:
    if device == "cuda":
        return _cuda_path(work, siblings, precision)
    if precision != "float32":
        return BLOCKS, f"the one that has {precision}"
    if GENERATE not in siblings:
        return STEP, "since the model has no graph of many steps (charlm-export writes it)"
    if work.filters:
        return STEP, "since filters sort, and NumPy sorts faster than the graph"
    worth = WORTH_BLOCKS_ALONE if work.streams == 1 else WORTH_BLOCKS_TOGETHER
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
    if via not in WAYS:
        raise SettingsError(f"via is auto, {' or '.join(WAYS)}, not {via!r}")
    if device == "cuda":
        if via == "blocks" and path != DEVICE_BLOCKS:
            raise ModelFileError("the model has no graph for CUDA: charlm-export --cuda writes it")
        if via == "steps" and precision != "float32":
            raise SettingsError(f"the step loop has no {precision}: give it float32")
        return STEP if via == "steps" else DEVICE_BLOCKS
    if via == "blocks" and GENERATE not in siblings:
        raise ModelFileError("the model has no graph of many steps: charlm-export writes it")
    return WAYS[via]


def _threads(work: Work, device: str, wanted: int | None) -> tuple[int, str]:
    if wanted is not None:
        return wanted, "as asked for"
    if device != "cpu":
        return 1, "which feeds the device"
    if work.streams == 1:
        return 1, "since one text is one step after another"
    return usable_cores(), "one a core"


def _check_precision(precision: str, device: str, siblings: Siblings) -> None:
    if precision not in PRECISIONS:
        raise SettingsError(f"--precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "float32":
        return
    needed, only = ("cpu", INT8) if precision == "int8" else ("cuda", UNROLLED_FP16)
    if device != needed:
        raise SettingsError(f"--precision {precision} runs with --provider {needed} only")
    if only not in siblings or (precision == "int8" and SEQUENCE_INT8 not in siblings):
        raise ModelFileError(
            f"the model has no {precision} graphs beside it: "
            f"charlm-export --{precision} writes them"
        )
