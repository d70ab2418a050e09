"""Opening a model file: an untrusted file becomes checked sessions with its metadata."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from charlm.data.system.errors import ModelFileError
from charlm.data.system.extras import require_onnxruntime
from charlm.export import contract
from charlm.export.contract import Kind, Metadata, check_sibling, sibling_path
from charlm.export.contract import native as contract_native
from charlm.infer.model import providers
from charlm.infer.model.providers import PRECISIONS

# A step of a model whose weights fit into one core's cache is over before a second thread has
# woken up; one thread was faster up to here on two cores.
SINGLE_THREAD_BYTES = 4 << 20
# Of recurrent weights that one core's cache does not hold, so that threads share a single text's
# steps, from here on: with 384 units two cores drew 117,000 characters/s and one 57,000. As the
# operator has it (`kWorthSharing`).
WORTH_SHARING = 3 << 19


class Model:
    """A model that is ready to run, in any number of threads.

    It has a session of its step graph, of charlm's own operator with the same weights, and of each
    sibling beside its file. They are started when they are first wanted.

    Args:
        threads: CPU threads of a session that steps.
        note: what a user should know of how it was opened, or None.
    """

    def __init__(
        self,
        path: Path,
        content: bytes,
        metadata: Metadata,
        device: str = "cpu",
        threads: int = 1,
        note: str | None = None,
    ) -> None:
        self.path, self.metadata, self.device = path, metadata, device
        self.threads, self.note = threads, note
        self._content = content
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, int], Any] = {}

    @functools.cached_property
    def without_native(self) -> str | None:
        """Why the native operator is not used, and what to do; None where it is, as on CUDA."""
        if problem := contract_native.problem():
            return problem
        try:
            _ = self._native_graph
        except ModelFileError as problem:
            return f"the native operator can't be used: {problem}"
        return None

    def uses_native(self, precision: str) -> bool:
        """Whether the native operator computes this model in a precision."""
        return self.device in PRECISIONS[precision] and self.without_native is None

    def shares_steps(self, precision: str) -> bool:
        """Whether the native operator is faster by several threads, even for a single text."""
        if self.device != "cpu":
            return False
        metadata = self.metadata
        numbers = 4 * metadata.hidden**2 * (2 * metadata.layers - 1)
        return numbers * (1 if precision == "int8" else 4) > WORTH_SHARING

    def native(self, precision: str, threads: int, device: str | None = None) -> Any:
        """The session of the native operator; the same one again the next time.

        Args:
            device: `cpu` or `cuda`; None: the model's.

        Raises:
            ModelFileError: its weights are damaged.
        """

        def start() -> Any:
            options = contract.session_options(threads)
            with native_errors(str(self.path)):
                contract_native.add_entries(options, precision, threads, where)
                return start_session(self._native_graph, options)

        where = device or self.device
        return self._session(f"{precision} {where}", threads, start)

    @property
    def session(self) -> Any:
        """`onnxruntime.InferenceSession` of the step graph, with the tensors of `export.contract`.

        Raises:
            ModelFileError: ONNX Runtime can't load it, or it is no step graph.
        """

        def check(session: Any) -> None:
            found = session.get_modelmeta().custom_metadata_map
            metadata = Metadata.from_properties(found, str(self.path))
            contract.check_tensors(session, contract.STEP, metadata, str(self.path))

        def start() -> Any:
            return _start_graph(self._content, str(self.path), self.threads, check)

        return self._session("step", self.threads, start)

    def has(self, kind: Kind) -> bool:
        """Whether a sibling of that kind stands beside the file."""
        return sibling_path(self.path, kind).is_file()

    def sibling(self, kind: Kind, threads: int = 1) -> Any:
        """The session of a sibling, of so many threads; the same one again the next time.

        Raises:
            ModelFileError: there is no such file, or it is damaged, of other weights, or not what
                its name says.
        """
        path = sibling_path(self.path, kind)

        def check(session: Any) -> None:
            check_sibling(session, kind, self.metadata, str(path))

        def start() -> Any:
            return _start_graph(contract.read_model_bytes(path), str(path), threads, check)

        return self._session(kind.name, threads, start)

    def _session(self, name: str, threads: int, start: Callable[[], Any]) -> Any:
        with self._lock:  # threads that draw side by side want one session, not one each
            if (name, threads) not in self._sessions:
                self._sessions[name, threads] = start()
            return self._sessions[name, threads]

    @functools.cached_property
    def _native_graph(self) -> bytes:
        return contract_native.native_graph(self._content, self.metadata, str(self.path))


def open_model(
    path: Path, provider: str = "auto", threads: int | None = None, precision: str = "float32"
) -> Model:
    """Open a step graph that `charlm-export` wrote.

    Args:
        path: the `.onnx` file.
        threads: CPU threads; None chooses by the size of the weights.
        precision: in which it will be used: what a GPU lacks for it is found out now.

    Raises:
        ModelFileError: no such file, not a charlm model, damaged, or of a later format.
        ProviderError: the provider can't run here.
        MissingExtraError: ONNX Runtime is not installed, or installed twice.
        SettingsError: an unknown provider or precision, one that the other lacks, or threads out of
            range.
    """
    if threads is not None:
        from charlm.data.system.cores import check_threads

        check_threads(threads)
    providers.check_precision(precision, provider)
    content, where = contract.read_model_bytes(path), str(path)
    require_onnxruntime()
    if threads is None:
        threads = 1
        if len(content) > SINGLE_THREAD_BYTES:
            from charlm.data.system.cores import usable_cores

            threads = usable_cores()
    only_there = "cpu" not in PRECISIONS[precision]
    instead = f"leave out `precision` {precision}" if only_there else providers.CPU_INSTEAD
    choice = providers.choose(provider, instead)
    properties = contract_native.properties_of(content, where)
    if kind := properties.get(contract.KEY_KIND):
        raise ModelFileError(
            f"{where}: a graph of kind {kind[:40]!r}, which stands beside a model: name the model, "
            f"{path.name.removesuffix('.onnx').removesuffix(f'.{kind}')}.onnx"
        )
    metadata = Metadata.from_properties(properties, where)
    model = Model(path, content, metadata, choice.device, threads, choice.note)
    if model.device == "cuda":
        try:
            model.native(precision, 1)
            return model
        except ModelFileError as problem:
            reason = str(problem).removeprefix(f"{where}: ")
        model = Model(path, content, metadata, "cpu", threads)
        if model.without_native is None:
            model.native("float32", 1)  # a bad file is not blamed on the GPU
        choice = providers.without_cuda(provider, reason, instead)
        model.note = choice.note
    if model.without_native is not None:
        _ = model.session  # what is wrong with it is said now
        if contract_native.LIBRARY.is_file():
            model.note = choice.note or model.without_native
    return model


def _start_graph(content: bytes, where: str, threads: int, check: Callable[[Any], None]) -> Any:
    """A session of a graph of ONNX's own operators, once `check` has looked at it."""
    from charlm.export.contract.ops import check_operators

    check_operators(content, where)
    options = contract.session_options(threads)
    with contract.runtime_errors_as(ModelFileError, f"{where}: ONNX Runtime can't load it"):
        session = start_session(content, options)
        check(session)
    return session


def start_session(content: bytes, options: Any) -> Any:
    """A session; whatever ONNX Runtime raises goes through."""
    # Its own way of beginning again is turned off: it prints to stdout, and hides a bad model.
    return require_onnxruntime().InferenceSession(
        content, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )


@contextlib.contextmanager
def native_errors(where: str = "") -> Iterator[None]:
    """Turn what the operator says in the block into one line of ours.

    Raises:
        ModelFileError: it refused.
    """
    try:
        yield
    except Exception as problem:
        if not contract.is_of_runtime(problem):
            raise
        line = str(problem).strip().partition("\n")[0]
        _, found, said = line.rpartition(f"{contract_native.OPERATOR}: ")
        reason = said if found else f"ONNX Runtime can't run the model: {line}"
        raise ModelFileError(f"{where}: {reason}" if where else reason) from problem
