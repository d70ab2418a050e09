"""Who takes part, in the order of turns: the procedures, the limits and the whole processes."""

from dataclasses import dataclass, replace

from charlm.benchmarks import processes
from charlm.benchmarks.artifacts import ModelInfo
from charlm.benchmarks.processes import Process
from charlm.benchmarks.report import NOTEBOOK, PRODUCT_LIMIT, VECTOR_LIMIT
from charlm.benchmarks.settings import CaseSettings
from charlm.benchmarks.work import BATCH, PRODUCT_FLOPS, STREAMS

PAIR = ("charlm_gen_100", "import_onnxruntime")
PROCESS_ROUNDS = 2  # rounds of whole processes for each round of trials: they are short and noisy
SLOW_ROUNDS = 5  # of whole processes that take seconds to start


@dataclass(frozen=True)
class Case:
    """A procedure.

    Attributes:
        module: its file in `cases`.
        limit: which of the machine's limits it runs against; None on a GPU.
        streams: characters that it draws in one unit of work.
        every_core: it may use the whole machine; otherwise, the run's threads.
        cuda: it runs on CUDA; otherwise, on the CPU.
    """

    name: str
    title: str
    module: str
    limit: str | None = VECTOR_LIMIT
    streams: int = 1
    every_core: bool = False
    cuda: bool = False

    @property
    def target(self) -> str:
        """What its worker imports."""
        return f"charlm.benchmarks.cases.{self.module}"


@dataclass(frozen=True)
class Bound:
    """A library's way to one of the machine's limits; a function of `limits`."""

    name: str
    title: str
    limit: str

    @property
    def target(self) -> str:
        """What its worker imports."""
        return f"charlm.benchmarks.limits:{self.name}"

    def characters(self, model: ModelInfo) -> float:
        """How many characters' products a unit of its work is."""
        return PRODUCT_FLOPS / model.flops if self.limit == PRODUCT_LIMIT else BATCH


CASES = (
    Case(NOTEBOOK, "notebook: Keras, 40-character window", "keras_window"),
    Case("keras_all_cores", "notebook on every core", "keras_window", every_core=True),
    Case("torch_window", "Torch, 40-character window", "torch_window"),
    Case("onnx_window", "ONNX Runtime, 40-character window", "onnx_window"),
    Case("torch_step", "Torch, step loop", "torch_step"),
    Case("charlm_step", "charlm", "charlm_step"),
    Case(
        "charlm_samples", f"charlm, {STREAMS} streams", "charlm_samples", PRODUCT_LIMIT, STREAMS
    ),
    Case("charlm_step_cuda", "charlm on CUDA", "charlm_step", None, cuda=True),
    Case(
        "charlm_samples_cuda", f"charlm on CUDA, {STREAMS} streams", "charlm_samples", None,
        STREAMS, cuda=True,
    ),
)  # fmt: skip
LIMITS = (
    Bound("numpy_vector", "NumPy, row vector times matrix", VECTOR_LIMIT),
    Bound("numpy_column", "NumPy, matrix times column vector", VECTOR_LIMIT),
    Bound("onnx_vector", "ONNX Runtime, MatMul in a Scan", VECTOR_LIMIT),
    Bound("numpy_product", "NumPy, matrix product", PRODUCT_LIMIT),
    Bound("onnx_product", "ONNX Runtime, matrix product", PRODUCT_LIMIT),
)


def whole_processes(settings: CaseSettings, cuda: bool) -> list[Process]:
    """The commands that are measured from their start to their end."""
    cores = settings.threads

    def first(name: str, title: str, case: str) -> Process:
        module = next(each.target for each in CASES if each.name == case)
        command = processes.first_character(module, settings)
        return Process(name, title, command, case, SLOW_ROUNDS, cores)

    def plain(name: str, title: str, command: tuple[str, ...], case: str | None = None) -> Process:
        return Process(name, title, command, case, cores=cores)

    found = [
        plain("python", "python -c pass", processes.python("pass")),
        plain(PAIR[1], "python -c 'import onnxruntime'", processes.python("import onnxruntime")),
        plain(PAIR[0], "charlm-gen --length 100", processes.charlm_gen(settings, 100)),
        plain(
            "charlm_gen_1", "charlm-gen --length 1", processes.charlm_gen(settings, 1),
            "charlm_step",
        ),
        first("first_torch_step", "Torch step loop, first character", "torch_step"),
        first("first_keras", "notebook, first character", NOTEBOOK),
    ]  # fmt: skip
    if cuda:
        command = processes.charlm_gen(replace(settings, provider="cuda"), 1)
        title = "charlm-gen --length 1 on CUDA"
        found.append(Process("charlm_gen_1_cuda", title, command, "charlm_step_cuda", SLOW_ROUNDS))
    return found
