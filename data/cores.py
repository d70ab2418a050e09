"""How many CPU threads may be used, and how many there are cores for."""

import os

from charlm.data.errors import SettingsError

MAX_THREADS = 256  # more is a slip of the hand


def check_threads(threads: int | None) -> None:
    """None leaves the number to whoever runs them.

    Raises:
        SettingsError: out of range.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise SettingsError(f"--threads is from 1 to {MAX_THREADS}, not {threads}")


def usable_cores() -> int:
    """The cores that this process may use, which may be fewer than the machine has."""
    try:
        return min(MAX_THREADS, len(os.sched_getaffinity(0)))
    except AttributeError:  # neither Windows nor macOS have it
        return min(MAX_THREADS, os.cpu_count() or 1)


def openmp_threads() -> int | None:
    """What OMP_NUM_THREADS asks for, as users, torchrun and job schedulers set it; None if unset.

    Of a list, one number for each level of nesting, the first; nonsense counts as unset.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if not first.isdecimal() or int(first) == 0:
        return None
    return min(MAX_THREADS, int(first))
