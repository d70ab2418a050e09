"""How every measured process starts, one thread on one core, and what memory it took."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

KILOBYTE = 1024
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def can_pin() -> bool:
    """Whether this system lets a process choose its cores."""
    return hasattr(os, "sched_setaffinity")


def start(command: Sequence[str], cores: int, **streams: Any) -> Any:
    """Start a process that is pinned to so many cores, with as many threads; 0: left alone.

    The last cores are taken: the first one serves more of the system's interrupts.
    """
    environment = _environment(cores)
    if not cores or not hasattr(os, "sched_setaffinity"):
        return subprocess.Popen(command, env=environment, **streams)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-cores:])  # which a child takes over
    try:
        return subprocess.Popen(command, env=environment, **streams)
    finally:
        os.sched_setaffinity(0, before)


def _environment(threads: int) -> dict[str, str]:
    """This process's environment with every known thread pool set to `threads`; 0: left alone.

    Python may write bytecode, which a package that pip installed has from the beginning.
    """
    variables = dict(os.environ)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in THREAD_VARIABLES:
        variables.pop(name, None)
        if threads:
            variables[name] = str(threads)
    # The characters that cases print are UTF-8 everywhere, and libraries keep their notices.
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "ORT_DISABLE_TELEMETRY": "1"}
    return variables | quiet | {"PYTHONUTF8": "1"}


def own_peak() -> int | None:
    """The most memory that this process has held, in bytes; None where it can't be told.

    Linux counts in `ru_maxrss` what a child had of its parent's memory before it became its own
    program, and in `VmHWM` does not.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    if found := re.search(r"^VmHWM:\s*(\d+)", status, re.MULTILINE):
        return int(found[1]) * KILOBYTE
    try:
        import resource
    except ImportError:
        return None
    return peak_of_usage(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak_of_usage(maximum: int) -> int:
    """`ru_maxrss` in bytes: macOS counts bytes, the others kilobytes."""
    return maximum if sys.platform == "darwin" else maximum * KILOBYTE


def last_words(code: int, errors: IO[bytes]) -> str:
    """Why a process ended, as far as its code and its last line in a file of its stderr tell."""
    errors.seek(0)
    said = [line for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    return f"its process ended with code {code}" + (f": {said[-1].strip()}" if said else "")
