"""Execution providers: which one runs here, and if CUDA can't, the reason."""

import contextlib
import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlm.data.errors import ProviderError, SettingsError

PROVIDERS = ("auto", "cpu", "cuda")
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Choice:
    """The provider to use.

    Attributes:
        device: `"cpu"` or `"cuda"`.
        note: why `auto` passed over a GPU that is there; None where nothing is to be said.
    """

    device: str
    note: str | None = None


def choose(wanted: str, runtime: Any) -> Choice:
    """Settle which provider runs.

    `auto` looks for a device before it touches CUDA: it is silent where there is none, and
    falls back to the CPU with a note where there is one that can't be used.

    Args:
        wanted: one of `PROVIDERS`.
        runtime: the onnxruntime module.

    Raises:
        SettingsError: `wanted` is none of them.
        ProviderError: CUDA was asked for and can't run; the message says why.
    """
    if wanted not in PROVIDERS:
        raise SettingsError(f"--provider is one of {', '.join(PROVIDERS)}, not {wanted!r}")
    if wanted == "cpu":
        return Choice("cpu")
    absent = _no_device()
    if wanted == "auto" and absent is not None:
        return Choice("cpu")
    reason = _cpu_build(runtime) or absent or _missing_library(runtime)
    return Choice("cuda") if reason is None else without_cuda(wanted, reason)


def without_cuda(wanted: str, reason: str) -> Choice:
    """What `auto` falls back to where there is a GPU that can't be used.

    Raises:
        ProviderError: `wanted` is `cuda`, which never falls back.
    """
    if wanted == "cuda":
        raise ProviderError(f"--provider cuda can't run here: {reason}; or use --provider cpu")
    return Choice("cpu", f"an NVIDIA GPU is here but is not used: {reason}")


def session_providers(device: str, tf32: bool = False, captured: bool = False) -> list[Any]:
    """What to hand to `InferenceSession`.

    Args:
        device: `"cpu"` or `"cuda"`.
        tf32: let CUDA round the factors of products to 10 bits, which is faster; otherwise full
            float32.
        captured: on CUDA, runs are captured as CUDA graphs and started by one call each.
    """
    if device != "cuda":
        return [CPU]
    options = {"use_tf32": "1" if tf32 else "0"}
    if captured:
        options["enable_cuda_graph"] = "1"
    return [(CUDA, options), CPU]


def _cpu_build(runtime: Any) -> str | None:
    if CUDA in runtime.get_available_providers():
        return None
    return "this ONNX Runtime is a CPU-only build (install charlm[cuda] in its place)"


def _no_device() -> str | None:
    """Ask NVIDIA's driver, which comes with the device, not with any package."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return "no NVIDIA driver was found"
    count = ctypes.c_int(0)
    if (error := driver.cuInit(0)) or (error := driver.cuDeviceGetCount(ctypes.byref(count))):
        return f"the NVIDIA driver finds no usable device (CUDA error {error})"
    return None if count.value else "the NVIDIA driver finds no device"


def _missing_library(runtime: Any) -> str | None:
    """Load ONNX Runtime's CUDA library as it would itself, and say what it lacks."""
    # preload_dlls reports what it can't find by printing to stdout, which is for text.
    with contextlib.redirect_stdout(sys.stderr if sys.flags.verbose else _Nowhere()):
        runtime.preload_dlls()
    folder = Path(runtime.__file__).parent / "capi"
    name = "onnxruntime_providers_cuda"
    library = folder / (f"{name}.dll" if sys.platform == "win32" else f"lib{name}.so")
    shared = folder / "libonnxruntime_providers_shared.so"
    try:
        if shared.exists():
            ctypes.CDLL(str(shared), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(library))
    except OSError as problem:
        return f"a CUDA library is missing (install charlm[cuda]): {str(problem).splitlines()[0]}"
    return None


class _Nowhere:
    """A text file that forgets what is written to it."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass
