"""Starting ONNX Runtime on the bytes of a graph."""

from typing import Any

from charlm.export import contract

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
    options.add_session_config_entry("session.load_model_format", "ONNX")  # as it was looked at
    return options


def session_on(runtime: Any, content: bytes, options: Any) -> Any:
    """A session; whatever ONNX Runtime raises goes through."""
    # Its own way of beginning again is turned off: it prints to stdout, and hides a bad model.
    return runtime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
