"""Opening a model file: an untrusted file becomes a checked session with its metadata."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.data.errors import ModelFileError, ProviderError, SettingsError
from charlm.data.extras import require_onnxruntime
from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.infer import providers

QUIET = 4  # ONNX Runtime's log severity "fatal": errors come as exceptions, in our words
# A step of a model whose weights fit into one core's cache is over before a second thread has
# woken up; one thread was faster up to here on two cores.
SINGLE_THREAD_BYTES = 8 << 20


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
        SettingsError: an unknown provider, or threads below 1.
    """
    if threads is not None and threads < 1:
        raise SettingsError(f"--threads is at least 1, not {threads}")
    content = contract.read_model_bytes(path)
    runtime = require_onnxruntime()
    choice = providers.choose(provider, runtime)
    threads = threads or _threads_for(len(content))
    session = _open_session(runtime, content, choice.device, threads, str(path))
    metadata = Metadata.from_properties(session.get_modelmeta().custom_metadata_map, str(path))
    _check_tensors(session, metadata, str(path))
    return Model(session, metadata, choice.device, threads, choice.note)


def _threads_for(size: int) -> int:
    return 1 if size <= SINGLE_THREAD_BYTES else (os.cpu_count() or 1)


def _open_session(runtime: Any, content: bytes, device: str, threads: int, where: str) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    # Waiting threads sleep: a core that spins between steps is a core taken from the user.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        # Bytes, not the path: a graph that points at other files then fails to load.
        session = runtime.InferenceSession(
            content, options, providers=providers.session_providers(device)
        )
    except Exception as problem:
        if not type(problem).__module__.startswith("onnxruntime"):
            raise
        reason = str(problem).splitlines()[0]
        raise ModelFileError(f"{where}: ONNX Runtime can't load it: {reason}") from problem
    if device == "cuda" and providers.CUDA not in session.get_providers():
        raise ProviderError(
            "--provider cuda can't run here: ONNX Runtime could not start its CUDA provider "
            "(run with --debug on a shell with ORT_LOGGING_LEVEL=1 to see why); "
            "or use --provider cpu"
        )
    return session


def _check_tensors(session: Any, metadata: Metadata, where: str) -> None:
    """Names, types and shapes must be those of the contract; only the batch is free."""
    state = ("tensor(float)", [metadata.layers, metadata.hidden])
    inputs = {contract.TOKEN: ("tensor(int64)", []), contract.H: state, contract.C: state}
    outputs = {
        contract.LOGITS: ("tensor(float)", [len(metadata.vocabulary)]),
        contract.H_NEXT: state,
        contract.C_NEXT: state,
    }
    for wanted, found in ((inputs, session.get_inputs()), (outputs, session.get_outputs())):
        described = {
            tensor.name: (tensor.type, tensor.shape[1:])
            for tensor in found
            if tensor.shape and not isinstance(tensor.shape[0], int)
        }
        if described != wanted or len(found) != len(wanted):
            shown = ", ".join(f"{tensor.name} {tensor.type}{tensor.shape}" for tensor in found)
            raise ModelFileError(
                f"{where}: not a charlm step graph: its tensors are {shown[:200]}, "
                f"not {', '.join(wanted)} with the sizes that its metadata give"
            )
