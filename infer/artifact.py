"""Opening a model file: an untrusted file becomes a checked session with its metadata."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.data.errors import ModelFileError, SettingsError
from charlm.data.extras import require_onnxruntime
from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.infer import providers
from charlm.infer.providers import Choice

MAX_THREADS = 256  # more is a slip of the hand
QUIET = 4  # ONNX Runtime's log severity "fatal": errors come as exceptions, in our words
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
# A step of a model whose weights fit into one core's cache is over before a second thread has
# woken up; one thread was faster up to here on two cores.
SINGLE_THREAD_BYTES = 4 << 20


@dataclass(frozen=True)
class Model:
    """A step graph that is ready to run.

    Attributes:
        session: `onnxruntime.InferenceSession` with the tensors of `export.contract`.
        metadata: what the file says of itself.
        device: `"cpu"` or `"cuda"`.
        threads: CPU threads of the session.
        note: what a user should know of the provider's choice, or None.
    """

    session: Any
    metadata: Metadata
    device: str
    threads: int
    note: str | None


def open_model(path: Path, provider: str = "auto", threads: int | None = None) -> Model:
    """Open a step graph that `charlm-export` wrote.

    Args:
        path: the `.onnx` file.
        provider: `auto`, `cpu` or `cuda`.
        threads: CPU threads; None chooses by the size of the weights.

    Raises:
        ModelFileError: no such file, not a charlm model, damaged, or of a later format.
        ProviderError: the provider can't run here.
        MissingExtraError: ONNX Runtime is not installed, or installed twice.
        SettingsError: an unknown provider, or threads out of range.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise SettingsError(f"--threads is from 1 to {MAX_THREADS}, not {threads}")
    content, where = contract.read_model_bytes(path), str(path)
    runtime = require_onnxruntime()
    threads = threads or _threads_for(len(content))
    options = _options(runtime, threads)
    choice = providers.choose(provider, runtime)
    session, choice = _start(runtime, content, options, where, provider, choice)
    metadata = _check(session, where)
    return Model(session, metadata, choice.device, threads, choice.note)


def _check(session: Any, where: str) -> Metadata:
    """The metadata of a session whose tensors are those that it gives."""
    with contract.runtime_errors_as(ModelFileError, f"{where}: its names can't be read"):
        metadata = Metadata.from_properties(session.get_modelmeta().custom_metadata_map, where)
        contract.check_tensors(
            session,
            hidden=metadata.hidden,
            layers=metadata.layers,
            vocabulary=len(metadata.vocabulary),
            where=where,
        )
    return metadata


def _threads_for(size: int) -> int:
    return 1 if size <= SINGLE_THREAD_BYTES else (os.cpu_count() or 1)


def _options(runtime: Any, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    # Waiting threads sleep: a core that spins between steps is a core taken from the user.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A model given as bytes may still name files in the current folder as its weights. They are
    # looked for in this folder instead, which is a file and so holds none.
    options.add_session_config_entry(EXTERNAL_FOLDER, __file__)
    return options


def _start(
    runtime: Any, content: bytes, options: Any, where: str, wanted: str, choice: Choice
) -> tuple[Any, Choice]:
    """A session on the chosen provider, or on the CPU where `auto` chose CUDA in vain."""

    def session_on(device: str) -> Any:
        # Its own fall to the CPU is turned off: it prints to stdout, and hides a bad model.
        chain = providers.session_providers(device)
        return runtime.InferenceSession(content, options, providers=chain, enable_fallback=0)

    reason = "ONNX Runtime did not start its CUDA provider"
    if choice.device == "cuda":
        try:
            session = session_on("cuda")
            if providers.CUDA in session.get_providers():
                return session, choice
        except Exception as problem:  # of the model or of CUDA: the CPU tells them apart
            reason = f"{reason}: {str(problem).strip().partition(chr(10))[0]}"
    with contract.runtime_errors_as(ModelFileError, f"{where}: ONNX Runtime can't load it"):
        session = session_on("cpu")
    return session, choice if choice.device == "cpu" else providers.without_cuda(wanted, reason)
