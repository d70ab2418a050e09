"""Optional dependencies: found, or one line on what to install."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

from charlm.data.system.errors import MissingExtraError

RUNTIMES = ("onnxruntime", "onnxruntime_gpu")  # as their dist-info folders are spelt


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Raises:
        MissingExtraError: it is not installed; the message has the line to run.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as problem:
        if problem.name != module.partition(".")[0]:
            raise
        raise _missing(module, extra) from problem


def require_there(extra: str, *modules: str) -> None:
    """Optional dependencies must be installed; they are imported where they are used.

    Raises:
        MissingExtraError: one is not; the message has the line to run.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise _missing(module, extra)


def require_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, of which exactly one distribution must be installed.

    Some of its builds write an identity of the machine and a log of their use into the home folder
    as they are imported: not for charlm, unless the user's environment says so.

    Raises:
        MissingExtraError: there is none, or there are two, which overwrite one another.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        module = require("onnxruntime", "cpu")
    except MissingExtraError as problem:
        raise MissingExtraError(
            "ONNX Runtime is not installed; run: pip install 'charlm[cpu]', "
            "or 'charlm[cuda]' on a machine with an NVIDIA GPU"
        ) from problem
    if module.__file__ is None or len(installed := _distributions(module.__file__)) > 1:
        found = " and ".join(installed) if module.__file__ else "a damaged onnxruntime"
        raise MissingExtraError(
            f"{found} found installed, which own the same folder; run: "
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'charlm[cpu]'"
        )
    return module


def _missing(module: str, extra: str) -> MissingExtraError:
    return MissingExtraError(f"{module} is not installed; run: pip install 'charlm[{extra}]'")


def _distributions(package_file: str) -> list[str]:
    """Which ONNX Runtime distributions are installed beside the one imported."""
    site = Path(package_file).parent.parent
    names = {path.name.partition("-")[0] for path in site.glob("onnxruntime*.dist-info")}
    return [name.replace("_", "-") for name in RUNTIMES if name in names]
