"""Which way a job is computed, and why: path, precision, threads, width and block."""

from dataclasses import dataclass

from charlm.data.system.cores import usable_cores
from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.export.contract import GENERATE
from charlm.infer.model.artifact import PRECISIONS, Model
from charlm.infer.planning.work import ONLY_ON, Work

NATIVE, BLOCKS, STEP = "native operator", "blocks", "step loop"
WAYS = ("native", "blocks", "steps")
# Opening the graph of many steps takes 3 ms; a character by it saves 5 µs alone, 0.4 among many. A
# larger model takes longer to open and saves no more.
MEASURED_SIZE = 850_000  # bytes
WORTH_BLOCKS_ALONE, WORTH_BLOCKS_TOGETHER = 600, 8000
# About 3 ms each alone: past it nothing is gained, and a reader would see text jump.
LONGEST_ALONE = {NATIVE: 1024, BLOCKS: 256, STEP: 256}
LONGEST_TOGETHER = {NATIVE: 256, BLOCKS: 64, STEP: 64}
LONGEST_ON_GPU = 1024  # of many texts: about 50 ms of work, against 15 of copies


@dataclass(frozen=True)
class Plan:
    """How it is done.

    Attributes:
        path: `NATIVE`, `BLOCKS` or `STEP`.
        precision: one of `PRECISIONS`.
        threads: that draw at once, each with its share of the streams.
        longest_block: steps in one run at most.
        reasons: why, a line each.
        width: texts side by side at most.
        window: characters that each is drawn from; None: all before it.
    """

    path: str
    precision: str
    threads: int
    longest_block: int
    reasons: tuple[str, ...]
    width: int = 1
    window: int | None = None


def choose(
    work: Work,
    model: Model,
    *,
    precision: str = "float32",
    threads: int | None = None,
    via: str = "auto",
) -> Plan:
    """The plan for some work on an open model.

    Args:
        work: what is asked for.
        model: an open model.
        precision: one of `PRECISIONS`.
        threads: as asked for; None: what is best.
        via: `auto`, or one of `WAYS` to compare them.

    Raises:
        SettingsError: an unknown precision or way, or one that the device or a window has not.
        ModelFileError: the model has no graph of this precision.
    """
    if via not in ("auto", *WAYS):
        raise SettingsError(f"via is auto, {', '.join(WAYS)}, not {via!r}")
    _check_precision(precision, model, work)
    path, why = _window_path(work.window, via, model) if work.window is not None else (
        _path(work, model, precision, via)
    )  # fmt: skip
    shared = path == NATIVE and model.shares_steps(precision)
    count, why_threads = _threads(work, model.device, threads, shared)
    block = (LONGEST_ALONE if work.streams == 1 else LONGEST_TOGETHER)[path]
    if model.device == "cuda":
        block = LONGEST_ON_GPU
    reasons = [f"path: {path}, {why}", f"precision: {precision}"]
    if path != STEP:
        reasons.append(f"block: up to {block} characters of a text in one run")
        reasons.append(f"threads: {count}, {why_threads}")
    return Plan(path, precision, count, block, tuple(reasons), window=work.window)


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
        from charlm.export.contract_native import instruction_set

        return NATIVE, f"which computes with {instruction_set()}"
    if via == "blocks":
        return _asked_blocks(work, model, precision)
    if via == "native" or precision == "int8":
        asked = "--precision int8" if precision == "int8" else "via native"
        raise SettingsError(f"{asked} can't be had: {missing}")
    return _portable_path(work, model, f"since {missing}")


def _asked_blocks(work: Work, model: Model, precision: str) -> tuple[str, str]:
    if precision != "float32":
        raise SettingsError(f"the graph of many steps has no {precision}: give it float32")
    if work.filters:
        raise SettingsError("the graph of many steps has no top-k, top-p or min-p")
    if GENERATE not in model.siblings:
        raise ModelFileError("the model has no graph of many steps: charlm-export writes it")
    return BLOCKS, "as asked for"


def _portable_path(work: Work, model: Model, why: str) -> tuple[str, str]:
    """The way by graphs of ONNX's own ops."""
    if GENERATE not in model.siblings:
        return STEP, f"{why}, and the model has no graph of many steps (charlm-export writes it)"
    # The graph of many steps has no filters, and the requests of a file may ask for some.
    if work.filters or work.streams is None:
        return STEP, f"{why}, and the graph of many steps has no filters"
    worth = WORTH_BLOCKS_ALONE if work.streams == 1 else WORTH_BLOCKS_TOGETHER
    worth = round(worth * max(1.0, model.siblings.size(GENERATE) / MEASURED_SIZE))
    if work.characters < worth:
        return STEP, f"{why}, and another graph pays from {worth:,} characters on"
    return BLOCKS, why


def _window_path(window: int, via: str, model: Model) -> tuple[str, str]:
    if model.device == "cuda":
        raise SettingsError("--window is stepped through on the CPU: give --provider cpu")
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
    each = "which share the weights of a step" if work.streams == 1 else "one a core"
    return usable_cores(), each


def _check_precision(precision: str, model: Model, work: Work) -> None:
    if precision not in PRECISIONS:
        raise SettingsError(f"--precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    if precision == "float32":
        return
    needed = ONLY_ON[precision]
    if model.device != needed:
        raise SettingsError(f"--precision {precision} runs with --provider {needed} only")
    if work.window is not None:
        raise SettingsError("--window is stepped through in float32: leave out --precision")
    model.metadata.check_loss(precision)
