"""How many CPU threads may be used, and how many there are cores for."""

import os

from charlm.data.system.errors import SettingsError

MAX_THREADS = 256  # more is a slip of the hand


def check_threads(threads: int | None) -> None:
    """None leaves the number to whoever runs them.

    Raises:
        SettingsError: out of range.
    """
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise SettingsError(f"`threads` is from 1 to {MAX_THREADS}, not {threads}")


def usable_cores() -> int:
    """The cores that this process may use, which may be fewer than the machine has."""
    try:
        return min(MAX_THREADS, len(os.sched_getaffinity(0)))
    except AttributeError:  # neither Windows nor macOS have it
        return min(MAX_THREADS, os.cpu_count() or 1)
