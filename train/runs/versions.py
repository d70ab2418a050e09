"""The versions that a run's bits depend on."""

import platform

import numpy as np
import torch

from charlm.data.system.package import version


def current() -> dict[str, str]:
    """Of this process, by name."""
    return {
        "charlm": version(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # its own class would not be read back
        "numpy": np.__version__,
    }


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """What changed, each as `name old, not new`."""
    names = dict.fromkeys((*then, *now))
    return [
        f"{name} {then.get(name, 'unknown')}, not {now.get(name, 'unknown')}"
        for name in names
        if then.get(name) != now.get(name)
    ]
