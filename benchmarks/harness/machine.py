"""What a report says of the machine and its software: nothing that names its owner or its place."""

import platform
import re
from dataclasses import dataclass
from importlib import metadata

from charlm.data.system.cores import usable_cores
from charlm.data.system.memory import memory_bytes
from charlm.data.system.processor import output, processor

PACKAGES = (
    "charlm", "numpy", "onnxruntime", "onnxruntime-gpu", "onnx", "torch", "tensorflow", "keras",
    "openvino", "ai-edge-litert",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """Hardware, system and versions."""

    cpu: str
    cores: int  # that this process may use
    memory_bytes: int | None
    system: str
    gpu: str | None
    versions: dict[str, str]


def describe(provider: str) -> Machine:
    """This machine; the GPU only where it takes part."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    gpu = _gpu() if provider == "cuda" else None
    return Machine(processor(), usable_cores(), memory_bytes(), _system(), gpu, versions)


def slug(text: str) -> str:
    """`text` as part of a file's name."""
    plain = re.sub(r"\((r|tm|c)\)|@.*", " ", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "machine"


def without_paths(text: str) -> str:
    """`text` with every absolute path cut down to its last part."""
    return re.sub(r"(?:[A-Za-z]:)?(?:[\\/][\w.~+@-]+)+[\\/]([\w.~+@-]+)", r"\1", text)


def _system() -> str:
    """The system's name without its kernel's release, which may carry a builder's own name."""
    name = f"{platform.system()} {platform.machine()}"
    try:
        return f"{name}, {platform.freedesktop_os_release()['PRETTY_NAME']}"
    except (OSError, KeyError, AttributeError):
        return name


def _gpu() -> str | None:
    shown = output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    return shown.splitlines()[0] if shown else None
