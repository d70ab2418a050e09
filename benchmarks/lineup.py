"""Who takes part, in the order of turns: the procedures and the machine's limits.

A procedure is a row: its module in `cases`, and what that module is told. A new path of charlm is
a new row, with `path`, `precision`, `batch` and `steps` as its module understands them; the
report's first table, its bars and its goals find it by its job, its precision and its cores.
"""

from dataclasses import dataclass, replace
from typing import Any

from charlm.benchmarks import pinning
from charlm.benchmarks.artifacts import (
    LITERT_PRODUCTS,
    LITERT_STEP,
    WEIGHTS,
    WINDOW,
    ModelInfo,
)
from charlm.benchmarks.results import NOTEBOOK, PRODUCT_LIMIT, VECTOR_LIMIT
from charlm.benchmarks.settings import CaseSettings
from charlm.benchmarks.work import BATCH, MANY, ONE, PRODUCT_FLOPS, SCORE, STREAMS


@dataclass(frozen=True)
class Case:
    """A procedure.

    Attributes:
        module: its file in `cases`.
        job: what a reader would use it for.
        use: how charlm is asked for it; empty for what is not charlm.
        limit: which of the machine's limits it runs against; None on a GPU.
        path, precision, batch, steps: see `CaseSettings`.
        every_core: it may use the whole machine; otherwise, the run's threads.
        cuda: it runs on CUDA; otherwise, on the CPU.
        slow: it takes many seconds to start, so a quick run leaves it out.
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
    every_core: bool = False
    cuda: bool = False
    slow: bool = False
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
        )


@dataclass(frozen=True)
class Bound:
    """A library's way to one of the machine's limits; a function of `limits`."""

    name: str
    title: str
    limit: str
    slow: bool = False
    needs: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """What its worker imports."""
        return f"charlm.benchmarks.limits:{self.name}"

    def characters(self, model: ModelInfo) -> float:
        """How many characters' products a unit of its work is."""
        return PRODUCT_FLOPS / model.flops if self.limit == PRODUCT_LIMIT else BATCH


def _many(name: str, title: str, module: str, **fields: object) -> Case:
    """A row of many texts side by side."""
    row = Case(name, title, module, MANY, limit=PRODUCT_LIMIT, batch=STREAMS)
    return replace(row, **fields)  # type: ignore[arg-type]


STEPS = 64  # characters of each text in one call, where a path draws several
SCAN: dict[str, Any] = {"path": "generate", "steps": STEPS, "needs": ()}
COMPILED = {"path": "compiled", "slow": True}
LITERT = {"slow": True, "needs": (WEIGHTS, LITERT_STEP)}
SAMPLES = f"charlm-gen --samples {STREAMS}"
WIDE, WIDE_CUDA = 256, 4096  # where the speed of a core, and of a GPU, levels off
CORES = pinning.available_cores()
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
    Case("charlm_step", "charlm, step loop", "charlm_step", needs=()),
    Case("charlm_generate", f"charlm, {STEPS} steps a call", "charlm_engine", **SCAN),
    Case(
        "charlm_generate_int8", f"charlm, {STEPS} steps a call, int8", "charlm_engine",
        precision="int8", **SCAN,
    ),
    Case("charlm_stream", "charlm-gen", "charlm_stream", use="charlm-gen", needs=()),
    _many("torch_batch", f"Torch, {STREAMS} texts", "torch_step"),
    _many("torch_compiled_batch", f"Torch compiled, {STREAMS} texts", "torch_step", **COMPILED),
    _many("openvino_batch", f"OpenVINO, {STREAMS} texts", "openvino_step"),
    _many("litert_batch", f"LiteRT, {STREAMS} texts", "litert_step", **LITERT),
    _many("charlm_samples", f"charlm, step loop, {STREAMS} texts", "charlm_step", needs=()),
    _many(
        "charlm_generate_batch", f"charlm, {STEPS} steps a call, {STREAMS} texts",
        "charlm_engine", **SCAN,
    ),
    _many(
        "charlm_generate_batch_int8", f"charlm, {STEPS} steps a call, {STREAMS} texts, int8",
        "charlm_engine", precision="int8", **SCAN,
    ),
    _many(
        "charlm_batch", f"charlm-gen, {STREAMS} texts", "charlm_batch", use=SAMPLES, needs=()
    ),
    _many(
        "charlm_batch_cores", f"charlm-gen, {WIDE} texts, every core", "charlm_batch",
        batch=WIDE, every_core=True, use=f"charlm-gen --samples {WIDE} --threads {CORES}", needs=(),
    ),
    Case(
        "charlm_score", "charlm-score, one text", "charlm_score", SCORE, "charlm-score FILE",
        needs=(),
    ),
    Case(
        "charlm_step_cuda", "charlm on CUDA, step loop", "charlm_step", limit=None, cuda=True,
        needs=(),
    ),
    Case(
        "charlm_stream_cuda", "charlm-gen on CUDA", "charlm_stream",
        use="charlm-gen --provider cuda", limit=None, cuda=True, needs=(),
    ),
    _many(
        "charlm_samples_cuda", f"charlm on CUDA, step loop, {STREAMS} texts", "charlm_step",
        limit=None, cuda=True, needs=(),
    ),
    _many(
        "charlm_batch_cuda", f"charlm-gen on CUDA, {WIDE_CUDA:,} texts", "charlm_batch",
        batch=WIDE_CUDA, use=f"charlm-gen --samples {WIDE_CUDA} --provider cuda", limit=None,
        cuda=True, needs=(),
    ),
)  # fmt: skip
LIMITS = (
    Bound("numpy_vector", "NumPy, row vector times matrix", VECTOR_LIMIT),
    Bound("numpy_column", "NumPy, matrix times column vector", VECTOR_LIMIT),
    Bound("onnx_vector", "ONNX Runtime, MatMul in a Scan", VECTOR_LIMIT),
    Bound(
        "litert_vector", "LiteRT, a call for each row vector", VECTOR_LIMIT, slow=True,
        needs=(LITERT_PRODUCTS,),
    ),
    Bound("numpy_product", "NumPy, matrix product", PRODUCT_LIMIT),
    Bound("onnx_product", "ONNX Runtime, matrix product", PRODUCT_LIMIT),
)  # fmt: skip


def case(name: str) -> Case:
    """A procedure by its name."""
    return next(each for each in CASES if each.name == name)
