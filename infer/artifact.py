"""Opening a model file: an untrusted file becomes a checked session with its metadata."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from charlm.data.cores import check_threads
from charlm.data.errors import ModelFileError
from charlm.data.extras import require_onnxruntime
from charlm.export import contract
from charlm.export.contract import Metadata
from charlm.infer import providers
from charlm.infer.runtime import session_options, start
from charlm.infer.siblings import Siblings

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
        siblings: further graphs of the same weights, beside the file; without a file there are
            none.
    """

    session: Any
    metadata: Metadata
    device: str
    threads: int
    note: str | None
    siblings: Siblings = field(default_factory=Siblings)


def open_model(
    path: Path, provider: str = "auto", threads: int | None = None, *, tf32: bool = False
) -> Model:
    """Open a step graph that `charlm-export` wrote.

    Args:
        path: the `.onnx` file.
        provider: `auto`, `cpu` or `cuda`.
        threads: CPU threads; None chooses by the size of the weights.
        tf32: products on CUDA in TF32, which is faster and rounds otherwise; nothing on the CPU.

    Raises:
        ModelFileError: no such file, not a charlm model, damaged, or of a later format.
        ProviderError: the provider can't run here.
        MissingExtraError: ONNX Runtime is not installed, or installed twice.
        SettingsError: an unknown provider, or threads out of range.
    """
    check_threads(threads)
    content, where = contract.read_model_bytes(path), str(path)
    runtime = require_onnxruntime()
    threads = threads or _threads_for(len(content))
    options = session_options(runtime, threads)
    choice = providers.choose(provider, runtime)
    session, choice = start(runtime, content, options, where, provider, choice, tf32=tf32)
    metadata = _check(session, where)
    siblings = Siblings(path, metadata, choice.device, tf32)
    return Model(session, metadata, choice.device, threads, choice.note, siblings)


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
