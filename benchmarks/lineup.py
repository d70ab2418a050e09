"""What can be measured: the procedures in the order of turns, the machine's limits, the sweeps.

A procedure is a row: its function in `cases`, and what that is told. A new path of charlm is a new
row; the report's first table and its picture find it by its job, its precision and its cores.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from charlm.benchmarks.harness.settings import (
    LENGTH,
    LITERT_STEP,
    MODEL,
    PROBE,
    SIZED,
    STREAMS,
    TOP_K,
    TOP_P,
    WEIGHTS,
    CaseSettings,
)
from charlm.benchmarks.report.results import (
    EXACT,
    LOOP,
    MANY,
    NOTEBOOK,
    ONE,
    PRODUCT_LIMIT,
    SCORE,
    SCORE_MANY,
    VECTOR_LIMIT,
)
from charlm.data.system.cores import usable_cores
from charlm.infer.engines.planning import LONGEST_ON_GPU
from charlm.infer.scoring.segments import LONGEST_PIECE


@dataclass(frozen=True)
class Case:
    """A procedure, or a way to a limit of the machine.

    Attributes:
        limit: which of the machine's limits it runs against, or is; None on a GPU.
        path, precision, batch, steps, filtered: see `CaseSettings`.
    """

    name: str
    title: str
    function: str  # `module:function` in `cases`
    job: str = ONE  # what a reader would use it for
    use: str = ""  # how charlm is asked for it; empty for what is not charlm
    limit: str | None = VECTOR_LIMIT
    path: str = "auto"
    precision: str = EXACT
    batch: int = 1
    steps: int = 1
    filtered: bool = False
    every_core: bool = False  # it may use the whole machine; otherwise, the run's threads
    cuda: bool = False  # it runs on CUDA; otherwise, on the CPU
    slow: bool = False  # it takes many seconds to start, so a quick run leaves it out
    least: int = 1  # units of a trial, where a shorter one would be about something else
    needs: tuple[str, ...] = ()  # files of `artifacts`

    @property
    def target(self) -> str:
        """What its worker imports."""
        return f"charlm.benchmarks.cases.{self.function}"

    def settings(self, given: CaseSettings) -> CaseSettings:
        """What its worker is told: the run's settings with the row's own."""
        return replace(
            given, provider="cuda" if self.cuda else "cpu",
            threads=0 if self.every_core else given.threads, path=self.path,
            precision=self.precision, batch=self.batch, steps=self.steps, filtered=self.filtered,
        )  # fmt: skip


def _many(name: str, title: str, function: str, **fields: Any) -> Case:
    """A row of many texts side by side."""
    told: dict[str, Any] = {"job": MANY, "limit": PRODUCT_LIMIT, "batch": STREAMS}
    return Case(name, title, function, **(told | fields))


def _both(case: Case, precision: str = "int8") -> Iterator[Case]:
    """A row, and the same in another precision."""
    yield case
    yield replace(
        case,
        name=f"{case.name}_{precision}",
        title=f"{case.title}, {precision}",
        use=f"{case.use} --precision {precision}" if case.use else "",
        precision=precision,
    )


def _on_cuda(case: Case, of_clusters: Iterable[str] = ("fp16",)) -> Iterator[Case]:
    """A row on a GPU in float32 and fp16, and in some precisions by its kernels of clusters."""
    use = f"{case.use} --provider cuda" if case.use else ""
    case = replace(case, use=use, limit=None, cuda=True)
    yield from _both(case, "fp16")
    own = replace(
        case,
        name=f"{case.name}_clusters",
        title=f"{case.title}, clusters",
        function=f"{case.function}_on_clusters",
        use=f"CHARLM_CLUSTERS=1 {use}" if use else "",
    )
    yield from (each for each in _both(own, "fp16") if each.precision in of_clusters)


STEPS = 64  # characters of each text in one call, where a path draws several
WIDE, WIDE_CUDA = 256, 128 * 132  # where a core's speed levels off, and that of 132 processors
MOST_CUDA = 2 * WIDE_CUDA  # one half is drawn while the other's texts are cut
CUDA_LENGTH = 16_384  # of each text: of a shorter one its request takes as long as its characters
SHORT = 64  # characters of a text, below which beginning and ending it is what takes time
CORES = usable_cores()
SAMPLES = f"charlm-gen --samples {WIDE}"
BLOCKS: dict[str, Any] = {"path": "blocks", "steps": STEPS}
NATIVE: dict[str, Any] = {"path": "native", "steps": STEPS}
FROM_WEIGHTS: dict[str, Any] = {"needs": (WEIGHTS,)}
LITERT: dict[str, Any] = {"slow": True, "needs": (WEIGHTS, LITERT_STEP)}

CASES = (
    Case(
        NOTEBOOK, f"notebook: Keras, {LENGTH}-character window", "keras:window", slow=True,
        **FROM_WEIGHTS,
    ),
    Case(
        "keras_all_cores", "notebook on every core", "keras:window", every_core=True, slow=True,
        **FROM_WEIGHTS,
    ),
    Case("torch_step", "Torch, step loop", "pytorch:step", **FROM_WEIGHTS),
    Case(
        "torch_compiled", "Torch compiled, step loop", "pytorch:compiled_step", slow=True,
        **FROM_WEIGHTS,
    ),
    Case("openvino_step", "OpenVINO, step loop", "openvino:step", **FROM_WEIGHTS),
    Case("litert_step", "LiteRT, step loop", "litert:step", **LITERT),
    *_both(Case("plain_loop", "C++ loop without a runtime", "probe:loop", LOOP, needs=(PROBE,))),
    Case("charlm_step", "charlm, step loop", "ours:step"),
    Case("charlm_generate", f"charlm, portable graph of {STEPS} steps", "ours:engine", **BLOCKS),
    *_both(
        Case("charlm_native", f"charlm, operator, {STEPS} steps a call", "ours:engine", **NATIVE)
    ),
    *_both(Case("charlm_stream", "charlm-gen", "ours:stream", use="charlm-gen")),
    Case(
        "charlm_window", f"charlm, {LENGTH}-character window", "ours:window",
        use=f"charlm-gen --window {LENGTH}",
    ),
    _many("torch_batch", f"Torch, {STREAMS} texts", "pytorch:step", **FROM_WEIGHTS),
    _many(
        "torch_compiled_batch", f"Torch compiled, {STREAMS} texts", "pytorch:compiled_step",
        slow=True, **FROM_WEIGHTS,
    ),
    _many("openvino_batch", f"OpenVINO, {STREAMS} texts", "openvino:step", **FROM_WEIGHTS),
    _many("litert_batch", f"LiteRT, {STREAMS} texts", "litert:step", **LITERT),
    _many("charlm_samples", f"charlm, step loop, {STREAMS} texts", "ours:step"),
    _many(
        "charlm_generate_batch", f"charlm, portable graph of {STEPS} steps, {STREAMS} texts",
        "ours:engine", **BLOCKS,
    ),
    *_both(
        _many("charlm_native_batch", f"charlm, operator, {STREAMS} texts", "ours:engine", **NATIVE)
    ),
    *_both(
        _many("charlm_batch", f"charlm-gen, {WIDE} texts", "ours:batch", batch=WIDE, use=SAMPLES)
    ),
    _many(
        "charlm_batch_filtered", f"charlm-gen, {WIDE} texts, top-k {TOP_K}, top-p {TOP_P}",
        "ours:batch", batch=WIDE, filtered=True, use=f"{SAMPLES} --top-k {TOP_K} --top-p {TOP_P}",
    ),
    *_both(
        _many(
            "charlm_batch_cores", f"charlm-gen, {WIDE} texts, every core", "ours:batch",
            batch=WIDE, every_core=True, least=SHORT, use=f"{SAMPLES} --threads {CORES}",
        )
    ),
    *_both(
        Case("charlm_score", "charlm-score, one text", "ours:score", SCORE, "charlm-score FILE")
    ),
    *_both(
        _many(
            "charlm_score_many", "charlm-score --parallel", "ours:score_parallel", job=SCORE_MANY,
            batch=1, use="charlm-score FILE --parallel --threads 1",
        )
    ),
    _many(
        "charlm_score_many_cores", "charlm-score --parallel, every core", "ours:score_parallel",
        job=SCORE_MANY, batch=1, every_core=True, use="charlm-score FILE --parallel",
    ),
    *_on_cuda(
        Case("charlm_stream_cuda", "charlm-gen on CUDA", "ours:stream", use="charlm-gen"),
        (EXACT, "fp16"),
    ),
    *_on_cuda(
        _many(
            "charlm_native_cuda", f"charlm on CUDA, operator, {WIDE_CUDA:,} texts", "ours:engine",
            path="native", steps=LONGEST_ON_GPU, least=LONGEST_ON_GPU, batch=WIDE_CUDA,
        ),
    ),
    *_on_cuda(
        _many(
            "charlm_batch_cuda", f"charlm-gen on CUDA, {MOST_CUDA:,} texts", "ours:batch",
            batch=MOST_CUDA, every_core=True, least=CUDA_LENGTH,
            use=f"charlm-gen --samples {MOST_CUDA} --length {CUDA_LENGTH}",
        ),
    ),
    *_on_cuda(
        _many(
            "charlm_score_many_cuda", "charlm-score --parallel on CUDA", "ours:score_parallel",
            job=SCORE_MANY, batch=1, every_core=True, least=4 * LONGEST_PIECE,
            use="charlm-score FILE --parallel",
        ),
    ),
)  # fmt: skip
READ, READ_BACK = "reading the weights from the cache", "reading the weights back and forth"
LIMITS = (
    Case("weights_read", READ, "probe:read", needs=(PROBE,)),
    Case("weights_back_and_forth", READ_BACK, "probe:read_back", needs=(PROBE,)),
    Case(
        "multiply_add", "multiplying and adding in registers", "probe:multiply_add",
        limit=PRODUCT_LIMIT, needs=(PROBE,),
    ),
)  # fmt: skip

HIDDEN = "hidden"


@dataclass(frozen=True)
class Sweep:
    """Speed along one logarithmic axis."""

    name: str
    title: str
    axis: str  # the field of `CaseSettings` that changes
    label: str  # of the axis
    values: tuple[int, ...]
    titles: Mapping[str, str]  # of its lines, by the names of their procedures
    quick: tuple[int, ...]  # the values of a quick run
    limits: tuple[str, ...] = (VECTOR_LIMIT, PRODUCT_LIMIT)  # of the machine, drawn as lines
    cuda: bool = False  # needs a GPU, and so is measured where one takes part

    def cases(self, slow: bool = True) -> list[Case]:
        """The procedures of its lines; without the slow ones where those are left out."""
        found = [case_named(name) for name in self.titles]
        return [case for case in found if slow or not case.slow]

    def bounds(self) -> list[Case]:
        """The ways to its limits."""
        return [bound for bound in LIMITS if bound.limit in self.limits]

    def settings(self, case: Case, value: int, given: CaseSettings) -> CaseSettings:
        """What the worker of one point is told; a size is that of a random model."""
        told = replace(case.settings(given), **{self.axis: value})  # type: ignore[arg-type]
        if self.axis != HIDDEN:
            return told
        folder = f"{told.artifacts}/{SIZED}{value}"
        return replace(told, model=f"{folder}/{MODEL}", artifacts=folder)

    def needs(self, values: Iterable[int], slow: bool) -> list[str]:
        """Files of `artifacts` that the points take."""
        if self.axis == HIDDEN:
            return [f"{SIZED}{value}" for value in values]
        return [name for case in (*self.cases(slow), *self.bounds()) for name in case.needs]


SWEEPS = (
    Sweep(
        "sweep_batch", "Speed against the number of texts side by side", "batch",
        "texts in one batch", tuple(2**n for n in range(11)),
        {
            "charlm_native_batch": "charlm",
            "charlm_native_batch_int8": "charlm, int8",
            "charlm_generate_batch": "charlm, portable graph",
            "litert_batch": "LiteRT",
            "openvino_batch": "OpenVINO",
            "torch_batch": "Torch",
        },
        quick=(1, 64),
    ),
    Sweep(
        "sweep_cuda", "From how many texts on a GPU is faster", "batch", "texts in one batch",
        (1, 64, 512, 2112, 8448, 33792),
        {
            "charlm_native_cuda": "GPU",
            "charlm_native_cuda_fp16": "GPU, fp16",
            "charlm_batch_cores": "CPU, every core",
            "charlm_batch_cores_int8": "CPU, every core, int8",
        },
        quick=(1, 2112),
        limits=(),
        cuda=True,
    ),
    Sweep(
        "sweep_steps", "Speed against the number of steps in one call", "steps",
        "steps in one call", tuple(2**n for n in range(10)),
        {
            "charlm_native": "one text",
            "charlm_native_int8": "one text, int8",
            "charlm_native_batch": f"{STREAMS} texts",
            "charlm_native_batch_int8": f"{STREAMS} texts, int8",
        },
        quick=(1, 64),
    ),
    Sweep(
        "sweep_hidden", "Speed against the size of the model", HIDDEN, "units (random weights)",
        (64, 128, 192, 256, 512, 1024),
        {
            "charlm_native": "charlm, one text",
            "charlm_native_batch": f"charlm, {STREAMS} texts",
            "charlm_step": "step loop, one text",
            "litert_step": "LiteRT, one text",
        },
        quick=(64, 256),
    ),
)  # fmt: skip


def case_named(name: str) -> Case:
    """A procedure by its name."""
    return next(each for each in CASES if each.name == name)
