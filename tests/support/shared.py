"""What takes long to make and nobody changes: made by one worker, read by all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` has filled, in whichever worker asked for it first."""
    base = factory.getbasetemp()
    if os.name == "nt":  # has no such locks: each worker makes its own
        folder = base / name
        if not folder.exists():
            folder.mkdir()
            make(folder)
        return folder
    import fcntl

    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / f"shared-{name}", base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder
