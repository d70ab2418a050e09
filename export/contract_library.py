"""The library of charlm's own operator: where it stands, and whether it can be used here."""

import ctypes
import functools
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charlm.data.system.extras import require_onnxruntime
from charlm.export.contract_native import KEY_DEVICE, KEY_NVRTC, KEY_PRECISION, KEY_THREADS

NAME = {"darwin": "libcharlm.dylib", "win32": "charlm.dll"}.get(sys.platform, "libcharlm.so")
LIBRARY = Path(__file__).parent.parent / "infer" / "native" / NAME
BUILD = "install charlm again where there is a C++ compiler, g++ or clang++"


def problem() -> str | None:
    """Why the operator can't be used here, and what to do; None where it can."""
    if not LIBRARY.is_file():
        return f"the native operator was not built: {BUILD}"
    return _refusal(os.environ.get("CHARLM_ISA"))


def is_there() -> bool:
    """Whether there is a library, of use or not."""
    return LIBRARY.is_file()


def register(options: Any) -> None:
    """Make the operator known to a session with these options, whose entries stand in them already.

    Raises:
        Exception: of ONNX Runtime: the library is damaged, or for another machine.
    """
    options.register_custom_ops_library(str(LIBRARY))


def add_entries(options: Any, precision: str, threads: int, device: str = "cpu") -> None:
    """Make the operator known to a session, and say how it computes there.

    Args:
        options: `onnxruntime.SessionOptions`.
        precision: `float32`; `int8` on the CPU, `fp16` on a GPU.
        threads: the session's.
        device: `cpu` or `cuda`.

    Raises:
        Exception: see `register`.
    """
    options.add_session_config_entry(KEY_PRECISION, precision)
    options.add_session_config_entry(KEY_DEVICE, device)
    if device == "cuda":
        options.add_session_config_entry(KEY_NVRTC, ":".join(map(str, _compilers())))
    else:
        options.add_session_config_entry(KEY_THREADS, str(threads))
    register(options)


def _compilers() -> Iterator[Path]:
    """Where packages have put NVRTC, NVIDIA's compiler; the newest first."""
    found = importlib.util.find_spec("nvidia")
    for folder in (found and found.submodule_search_locations) or ():
        paths = Path(folder).glob("*/lib/libnvrtc.so.[0-9]*")
        yield from sorted(paths, key=lambda path: path.name, reverse=True)


def gpu() -> tuple[int, str]:
    """The multiprocessors of the GPU that is here, and its name; 0 and why there is none to use.

    Raises:
        OSError: the library can't be loaded; see `problem`.
    """
    said = ctypes.create_string_buffer(200)
    count = ctypes.CDLL(str(LIBRARY)).charlm_gpu_processors(said, ctypes.c_size_t(len(said)))
    return int(count), said.value.decode(errors="replace")


def instruction_set() -> str:
    """The instruction set that the operator uses here, such as `avx512`.

    Raises:
        OSError: the library can't be loaded; see `problem`.
    """
    name = ctypes.CDLL(str(LIBRARY)).charlm_instruction_set
    name.restype = ctypes.c_char_p
    return (name() or b"").decode()


@functools.cache
def _refusal(instruction_set: str | None) -> str | None:
    del instruction_set  # which the library reads for itself
    try:
        register(require_onnxruntime().SessionOptions())
    except Exception as refusal:
        reason = str(refusal).strip().partition("\n")[0].rpartition("CharLSTM: ")[2]
        return f"the native operator can't be used: {reason} ({LIBRARY}); {BUILD}"
    return None
