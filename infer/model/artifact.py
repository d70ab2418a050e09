"""Opening a model file: an untrusted file becomes checked sessions with its metadata."""

import functools
import threading
from pathlib import Path
from typing import Any

from charlm.data.system.cores import check_threads, usable_cores
from charlm.data.system.errors import ModelFileError, SettingsError
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract, contract_native
from charlm.export.contract import Metadata
from charlm.infer.model import providers
from charlm.infer.model.runtime import session_on, session_options
from charlm.infer.model.siblings import Siblings

# A step of a model whose weights fit into one core's cache is over before a second thread has
# woken up; one thread was faster up to here on two cores.
SINGLE_THREAD_BYTES = 4 << 20
PRECISIONS = ("float32", "int8", "fp16")
NATIVE_PRECISIONS = {"cpu": ("float32", "int8"), "cuda": ("float32", "fp16")}
# Of recurrent weights that one core's cache does not hold, so that threads share a single text's
# steps, from here on: with 384 units two cores drew 117,000 characters/s and one 57,000. As the
# operator has it (`kWorthSharing`).
WORTH_SHARING = 3 << 19


class Model:
    """A model that is ready to run: its step graph, and charlm's own operator of the same weights.

    Sessions are started when they are first wanted.

    Args:
        content: of the model's file.
        metadata: what the file says of itself.
        where: its name, for messages.
        device: `"cpu"` or `"cuda"`.
        threads: CPU threads of a session that steps.
        note: what a user should know of how it was opened, or None.
        siblings: further graphs of the same weights, beside the file.

    Attributes:
        without_native: why the native operator is not used, and what to do; None where it is, as
            always on CUDA.
    """

    def __init__(
        self,
        content: bytes,
        metadata: Metadata,
        where: str,
        device: str,
        threads: int,
        note: str | None,
        siblings: Siblings,
    ) -> None:
        self.metadata, self.device, self.threads, self.note = metadata, device, threads, note
        self.siblings = siblings
        self._content, self._where, self._started = content, where, None
        self._lock = threading.Lock()
        self._native: dict[tuple[str, int], Any] = {}

    @functools.cached_property
    def without_native(self) -> str | None:
        """See the class."""
        if problem := contract_native.problem():
            return problem
        try:
            _ = self._native_graph
        except ModelFileError as problem:
            return f"the native operator can't be used: {problem}"
        return None

    def uses_native(self, precision: str) -> bool:
        """Whether the native operator computes this model in a precision."""
        return precision in NATIVE_PRECISIONS[self.device] and self.without_native is None

    def shares_steps(self, precision: str) -> bool:
        """Whether the native operator is faster by several threads, even for a single text."""
        if self.device != "cpu":
            return False
        metadata = self.metadata
        numbers = 4 * metadata.hidden**2 * (2 * metadata.layers - 1)
        return numbers * (1 if precision == "int8" else 4) > WORTH_SHARING

    def native(self, precision: str, threads: int) -> Any:
        """The session of the native operator; the same one again the next time.

        Args:
            precision: one of `NATIVE_PRECISIONS`, of its device.
            threads: CPU threads.

        Raises:
            ModelFileError: its weights are damaged.
        """
        from charlm.infer.engines.native_engine import native_errors

        with self._lock:  # threads that draw side by side want one session, not one each
            if (precision, threads) not in self._native:
                runtime = require_onnxruntime()
                options = session_options(runtime, threads)
                with native_errors(self._where):
                    contract_native.add_entries(options, precision, threads, self.device)
                    session = session_on(runtime, self._native_graph, options)
                self._native[precision, threads] = session
            return self._native[precision, threads]

    @property
    def session(self) -> Any:
        """`onnxruntime.InferenceSession` of the step graph, with the tensors of `export.contract`.

        Raises:
            ModelFileError: ONNX Runtime can't load it, or it is no step graph.
        """
        from charlm.export.contract_ops import check_operators

        with self._lock:
            if self._started is None:
                check_operators(self._content, self._where)
                runtime = require_onnxruntime()
                options = session_options(runtime, self.threads)
                with contract.runtime_errors_as(
                    ModelFileError, f"{self._where}: ONNX Runtime can't load it"
                ):
                    session = session_on(runtime, self._content, options)
                _check(session, self._where)
                self._started = session
            return self._started

    @functools.cached_property
    def _native_graph(self) -> bytes:
        return contract_native.native_graph(self._content, self.metadata, self._where)


def _check_precision(precision: str, provider: str) -> None:
    if precision not in PRECISIONS:
        raise SettingsError(f"--precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    for device, has in NATIVE_PRECISIONS.items():
        if provider == device and precision not in has:
            (other,) = NATIVE_PRECISIONS.keys() - {device}
            raise SettingsError(f"--precision {precision} runs with --provider {other} only")


def open_model(
    path: Path, provider: str = "auto", threads: int | None = None, precision: str = "float32"
) -> Model:
    """Open a step graph that `charlm-export` wrote.

    Args:
        path: the `.onnx` file.
        provider: `auto`, `cpu` or `cuda`.
        threads: CPU threads; None chooses by the size of the weights.
        precision: in which it will be used: what a GPU lacks for it is found out now.

    Raises:
        ModelFileError: no such file, not a charlm model, damaged, or of a later format.
        ProviderError: the provider can't run here.
        MissingExtraError: ONNX Runtime is not installed, or installed twice.
        SettingsError: an unknown provider or precision, one that the other lacks, or threads out of
            range.
    """
    check_threads(threads)
    _check_precision(precision, provider)
    content, where = contract.read_model_bytes(path), str(path)
    require_onnxruntime()
    threads = threads or _threads_for(len(content))
    only_there = precision not in NATIVE_PRECISIONS["cpu"]
    instead = f"leave out --precision {precision}" if only_there else providers.CPU_INSTEAD
    choice = providers.choose(provider, instead)
    metadata = Metadata.from_properties(contract_native.properties_of(content, where), where)
    siblings = Siblings(path, metadata)
    model = Model(content, metadata, where, choice.device, threads, choice.note, siblings)
    if model.device == "cuda":
        try:
            model.native(precision, 1)
            return model
        except ModelFileError as problem:
            reason = str(problem).removeprefix(f"{where}: ")
        model = Model(content, metadata, where, "cpu", threads, None, siblings)
        if model.without_native is None:
            model.native("float32", 1)  # a bad file is not blamed on the GPU
        choice = providers.without_cuda(provider, reason, instead)
        model.note = choice.note
    if model.without_native is not None:
        _ = model.session  # what is wrong with it is said now
        if contract_native.LIBRARY.is_file():
            model.note = choice.note or model.without_native
    return model


def _check(session: Any, where: str) -> None:
    """The tensors of a session must be those of its metadata."""
    with contract.runtime_errors_as(ModelFileError, f"{where}: its names can't be read"):
        metadata = Metadata.from_properties(session.get_modelmeta().custom_metadata_map, where)
        contract.check_tensors(session, contract.STEP, metadata, where)


def _threads_for(size: int) -> int:
    return 1 if size <= SINGLE_THREAD_BYTES else usable_cores()
