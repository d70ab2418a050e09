"""One thread on one core: the environment and the affinity that measured processes start with."""

import contextlib
import os
from collections.abc import Iterator

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def environment(threads: int) -> dict[str, str]:
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


def can_pin() -> bool:
    """Whether this system lets a process choose its cores."""
    return hasattr(os, "sched_setaffinity")


@contextlib.contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Processes started in the block run on `cores` cores; 0, or a system without: on any.

    The last cores are taken: the first one serves more of the system's interrupts.
    """
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-cores:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
