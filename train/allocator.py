"""The C library's allocator, told to keep the memory that each training step frees and takes again.

glibc hands large blocks back to the system at every free, and each comes back page by page, zeroed.
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
BLOCK, KEPT = 1 << 30, 2**31 - 1  # bytes: no block of a step is larger, nothing is given back


def keep_freed_memory() -> bool:
    """Make this process reuse freed memory instead of giving it back; it grows to its peak at most.

    Returns:
        Whether the C library did so; elsewhere than in glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no such function
        return False
    return bool(mallopt(MMAP_THRESHOLD, BLOCK)) and bool(mallopt(TRIM_THRESHOLD, KEPT))
