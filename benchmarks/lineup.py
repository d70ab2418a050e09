"""Who takes part, in the order of turns: the procedures and the machine's limits.

A procedure is a row: its module in `cases`, and what that module is told. A new path of charlm is
a new row, with `path`, `precision`, `batch` and `steps` as its module understands them; the
report's first table and its bars find it by its job, its precision and its cores.
"""

from dataclasses import dataclass, replace
from typing import Any

from charlm.benchmarks.artifacts import LENGTH, LITERT_STEP, PROBE, WEIGHTS, WINDOW, ModelInfo
from charlm.benchmarks.harness.settings import OPERATIONS, STREAMS, TOP_K, TOP_P, CaseSettings
from charlm.benchmarks.report.results import (
    LOOP,
    MANY,
    NOTEBOOK,
    ONE,
    PLAIN_LOOP,
    PLAIN_LOOP_INT8,
    PRODUCT_LIMIT,
    SCORE,
    SCORE_MANY,
    VECTOR_LIMIT,
)
from charlm.data.system.cores import usable_cores


@dataclass(frozen=True)
class Case:
    """A procedure.

    Attributes:
        module: its file in `cases`.
        job: what a reader would use it for.
        use: how charlm is asked for it; empty for what is not charlm.
        limit: which of the machine's limits it runs against; None on a GPU.
        path, precision, batch, steps, filtered: see `CaseSettings`.
        every_core: it may use the whole machine; otherwise, the run's threads.
        cuda: it runs on CUDA; otherwise, on the CPU.
        slow: it takes many seconds to start, so a quick run leaves it out.
        least: units of a trial, where a shorter one would be about something else.
        needs: files of `artifacts`.
    """

    name: str
    title: str
    module: str
    job: str = ONE
    use: str = ""
    limit: str | None = VECTOR_LIMIT
    path: str = "step"
    precision: str = "float32"
    batch: int = 1
    steps: int = 1
    filtered: bool = False
    every_core: bool = False
    cuda: bool = False
    slow: bool = False
    least: int = 1
    needs: tuple[str, ...] = (WEIGHTS,)

    @property
    def target(self) -> str:
        """What its worker imports."""
        return f"charlm.benchmarks.cases.{self.module}"

    def settings(self, given: CaseSettings) -> CaseSettings:
        """What its worker is told: the run's settings with the row's own."""
        return replace(
            given,
            provider="cuda" if self.cuda else "cpu",
            threads=0 if self.every_core else given.threads,
            path=self.path,
            precision=self.precision,
            batch=self.batch,
            steps=self.steps,
            filtered=self.filtered,
        )


@dataclass(frozen=True)
class Bound:
    """One of the machine's limits; a function of `limits`."""

    name: str
    title: str
    limit: str
    slow: bool = False
    needs: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What its worker imports."""
        return f"charlm.benchmarks.harness.limits:{self.name}"

    def characters(self, model: ModelInfo) -> float:
        """How many characters' products a unit of its work is."""
        return OPERATIONS / model.flops if self.limit == PRODUCT_LIMIT else 1


def many(name: str, title: str, module: str, **fields: object) -> Case:
    """A row of many texts side by side."""
    row = Case(name, title, module, MANY, limit=PRODUCT_LIMIT, batch=STREAMS)
    return replace(row, **fields)  # type: ignore[arg-type]


STEPS = 64  # characters of each text in one call, where a path draws several
SCAN: dict[str, Any] = {"path": "generate", "steps": STEPS, "needs": ()}
OPERATOR: dict[str, Any] = {"path": "native", "steps": STEPS, "needs": ()}
PLAIN: dict[str, Any] = {"job": LOOP, "needs": (PROBE,)}
COMPILED = {"path": "compiled", "slow": True}
LITERT = {"slow": True, "needs": (WEIGHTS, LITERT_STEP)}
WIDE, WIDE_CUDA = 256, 128 * 132  # where a core's speed levels off, and that of 132 processors
MOST_CUDA = 2 * WIDE_CUDA  # one half is drawn while the other's texts are cut
SAMPLES = f"charlm-gen --samples {WIDE}"
CUDA_SAMPLES = f"charlm-gen --samples {MOST_CUDA} --length 16384 --provider cuda"
CUDA_SCORE = "charlm-score FILE --parallel --provider cuda"
BATCH_ROW: dict[str, Any] = {"batch": WIDE, "needs": ()}
ON_CUDA: dict[str, Any] = {"needs": (), "limit": None, "cuda": True}
CUDA_OPERATOR: dict[str, Any] = {"path": "native", "steps": 1024, "batch": WIDE_CUDA, **ON_CUDA}
CUDA_LENGTH = 16_384  # of each text: of a shorter one its request takes as long as its characters
CUDA_BATCH: dict[str, Any] = {
    "batch": MOST_CUDA, "every_core": True, "least": CUDA_LENGTH, **ON_CUDA
}  # fmt: skip
CUDA_READ: dict[str, Any] = {"batch": 1, "every_core": True, **ON_CUDA}
CORES = usable_cores()
CASES = (
    Case(NOTEBOOK, "notebook: Keras, 40-character window", "keras_window", slow=True),
    Case(
        "keras_all_cores", "notebook on every core", "keras_window", every_core=True, slow=True
    ),
    Case("torch_window", "Torch, 40-character window", "torch_window"),
    Case(
        "onnx_window", "ONNX Runtime, 40-character window", "onnx_window",
        needs=(WEIGHTS, WINDOW),
    ),
    Case("torch_step", "Torch, step loop", "torch_step"),
    Case("torch_compiled", "Torch compiled, step loop", "torch_step", path="compiled", slow=True),
    Case("openvino_step", "OpenVINO, step loop", "openvino_step"),
    Case(
        "litert_step", "LiteRT, step loop", "litert_step", slow=True, needs=(WEIGHTS, LITERT_STEP)
    ),
    Case(PLAIN_LOOP, "C++ loop without a runtime", "plain_loop", **PLAIN),
    Case(
        PLAIN_LOOP_INT8, "C++ loop without a runtime, int8", "plain_loop", precision="int8", **PLAIN
    ),
    Case("charlm_step", "charlm, step loop", "charlm_step", needs=()),
    Case("charlm_generate", f"charlm, portable graph of {STEPS} steps", "charlm_engine", **SCAN),
    Case("charlm_native", f"charlm, operator, {STEPS} steps a call", "charlm_engine", **OPERATOR),
    Case(
        "charlm_native_int8", f"charlm, operator, {STEPS} steps a call, int8", "charlm_engine",
        precision="int8", **OPERATOR,
    ),
    Case("charlm_stream", "charlm-gen", "charlm_stream", use="charlm-gen", needs=()),
    Case(
        "charlm_stream_int8", "charlm-gen, int8", "charlm_stream", precision="int8",
        use="charlm-gen --precision int8", needs=(),
    ),
    Case(
        "charlm_window", f"charlm, {LENGTH}-character window", "charlm_stream", path="window",
        use=f"charlm-gen --window {LENGTH}", needs=(),
    ),
    many("torch_batch", f"Torch, {STREAMS} texts", "torch_step"),
    many("torch_compiled_batch", f"Torch compiled, {STREAMS} texts", "torch_step", **COMPILED),
    many("openvino_batch", f"OpenVINO, {STREAMS} texts", "openvino_step"),
    many("litert_batch", f"LiteRT, {STREAMS} texts", "litert_step", **LITERT),
    many("charlm_samples", f"charlm, step loop, {STREAMS} texts", "charlm_step", needs=()),
    many(
        "charlm_generate_batch", f"charlm, portable graph of {STEPS} steps, {STREAMS} texts",
        "charlm_engine", **SCAN,
    ),
    many(
        "charlm_native_batch", f"charlm, operator, {STREAMS} texts", "charlm_engine", **OPERATOR
    ),
    many(
        "charlm_native_batch_int8", f"charlm, operator, {STREAMS} texts, int8", "charlm_engine",
        precision="int8", **OPERATOR,
    ),
    many("charlm_batch", f"charlm-gen, {WIDE} texts", "charlm_batch", use=SAMPLES, **BATCH_ROW),
    many(
        "charlm_batch_int8", f"charlm-gen, {WIDE} texts, int8", "charlm_batch",
        precision="int8", use=f"{SAMPLES} --precision int8", **BATCH_ROW,
    ),
    many(
        "charlm_batch_filtered", f"charlm-gen, {WIDE} texts, top-k {TOP_K}, top-p {TOP_P}",
        "charlm_batch", filtered=True, use=f"{SAMPLES} --top-k {TOP_K} --top-p {TOP_P}",
        **BATCH_ROW,
    ),
    many(
        "charlm_batch_cores", f"charlm-gen, {WIDE} texts, every core", "charlm_batch",
        every_core=True, use=f"{SAMPLES} --threads {CORES}", **BATCH_ROW,
    ),
    many(
        "charlm_batch_cores_int8", f"charlm-gen, {WIDE} texts, every core, int8", "charlm_batch",
        precision="int8", every_core=True,
        use=f"{SAMPLES} --threads {CORES} --precision int8", **BATCH_ROW,
    ),
    Case(
        "charlm_score", "charlm-score, one text", "charlm_score", SCORE, "charlm-score FILE",
        needs=(),
    ),
    Case(
        "charlm_score_int8", "charlm-score, one text, int8", "charlm_score", SCORE,
        "charlm-score FILE --precision int8", precision="int8", needs=(),
    ),
    many(
        "charlm_score_many", "charlm-score --parallel", "charlm_score_many",
        job=SCORE_MANY, batch=1, use="charlm-score FILE --parallel --threads 1", needs=(),
    ),
    many(
        "charlm_score_many_cores", "charlm-score --parallel, every core", "charlm_score_many",
        job=SCORE_MANY, batch=1, every_core=True, use="charlm-score FILE --parallel", needs=(),
    ),
    many(
        "charlm_score_many_int8", "charlm-score --parallel, int8", "charlm_score_many",
        job=SCORE_MANY, batch=1, precision="int8",
        use="charlm-score FILE --parallel --threads 1 --precision int8", needs=(),
    ),
    Case(
        "charlm_stream_cuda", "charlm-gen on CUDA", "charlm_stream",
        use="charlm-gen --provider cuda", limit=None, cuda=True, needs=(),
    ),
    Case(
        "charlm_stream_cuda_fp16", "charlm-gen on CUDA, fp16", "charlm_stream", precision="fp16",
        use="charlm-gen --provider cuda --precision fp16", limit=None, cuda=True, needs=(),
    ),
    many(
        "charlm_native_cuda", f"charlm on CUDA, operator, {WIDE_CUDA:,} texts", "charlm_engine",
        **CUDA_OPERATOR,
    ),
    many(
        "charlm_native_cuda_fp16", f"charlm on CUDA, operator, {WIDE_CUDA:,} texts, fp16",
        "charlm_engine", precision="fp16", **CUDA_OPERATOR,
    ),
    many(
        "charlm_batch_cuda", f"charlm-gen on CUDA, {MOST_CUDA:,} texts", "charlm_batch",
        use=CUDA_SAMPLES, **CUDA_BATCH,
    ),
    many(
        "charlm_batch_cuda_fp16", f"charlm-gen on CUDA, {MOST_CUDA:,} texts, fp16",
        "charlm_batch", precision="fp16", use=f"{CUDA_SAMPLES} --precision fp16", **CUDA_BATCH,
    ),
    many(
        "charlm_score_many_cuda", "charlm-score --parallel on CUDA", "charlm_score_many",
        job=SCORE_MANY, use=CUDA_SCORE, **CUDA_READ,
    ),
    many(
        "charlm_score_many_cuda_fp16", "charlm-score --parallel on CUDA, fp16",
        "charlm_score_many", job=SCORE_MANY, precision="fp16",
        use=f"{CUDA_SCORE} --precision fp16", **CUDA_READ,
    ),
)  # fmt: skip
LIMITS = (
    Bound("weights_read", "reading the weights from the cache", VECTOR_LIMIT, needs=(PROBE,)),
    Bound(
        "weights_back_and_forth",
        "reading the weights back and forth",
        VECTOR_LIMIT,
        needs=(PROBE,),
    ),
    Bound("multiply_add", "multiplying and adding in registers", PRODUCT_LIMIT, needs=(PROBE,)),
)


def case(name: str) -> Case:
    """A procedure by its name."""
    return next(each for each in CASES if each.name == name)
