"""Starting ONNX Runtime on the bytes of a graph, on the provider that was chosen."""

from typing import Any

from charlm.data.errors import ModelFileError
from charlm.export import contract
from charlm.infer import providers
from charlm.infer.providers import Choice

QUIET = 4  # ONNX Runtime's log severity "fatal": errors come as exceptions, in our words


def session_options(runtime: Any, threads: int) -> Any:
    """Options of every session: so many CPU threads, no chatter, no weights from elsewhere."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = QUIET
    # Waiting threads sleep: a core that spins between steps is a core taken from the user.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(contract.EXTERNAL_FOLDER, __file__)
    return options


def session_on(
    runtime: Any,
    content: bytes,
    options: Any,
    device: str,
    *,
    tf32: bool = False,
    captured: bool = False,
) -> Any:
    """A session on `"cpu"` or `"cuda"`; whatever ONNX Runtime raises goes through."""
    # Its own fall to the CPU is turned off: it prints to stdout, and hides a bad model.
    chain = providers.session_providers(device, tf32, captured)
    return runtime.InferenceSession(content, options, providers=chain, enable_fallback=0)


def start(
    runtime: Any,
    content: bytes,
    options: Any,
    where: str,
    wanted: str,
    choice: Choice,
    *,
    tf32: bool = False,
) -> tuple[Any, Choice]:
    """A session on the chosen provider, or on the CPU where `auto` chose CUDA in vain."""

    reason = "ONNX Runtime did not start its CUDA provider"
    if choice.device == "cuda":
        try:
            session = session_on(runtime, content, options, "cuda", tf32=tf32)
            if providers.CUDA in session.get_providers():
                return session, choice
        except Exception as problem:  # of the model or of CUDA: the CPU tells them apart
            reason = f"{reason}: {str(problem).strip().partition(chr(10))[0]}"
    with contract.runtime_errors_as(ModelFileError, f"{where}: ONNX Runtime can't load it"):
        session = session_on(runtime, content, options, "cpu")
    return session, choice if choice.device == "cpu" else providers.without_cuda(wanted, reason)
