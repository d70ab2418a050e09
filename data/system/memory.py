"""How much memory this process may use."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def memory_bytes(root: Path = Path("/")) -> int | None:
    """The machine's memory, or a container's limit where that is less; None where nothing is said.

    Args:
        root: of the file system in which Linux shows control groups, of version 1 or 2.
    """
    found = list(_group_limits(root))
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows; unknown; no answer
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


def _group_limits(root: Path) -> Iterator[int]:
    """The limits of the control groups that this process is in, and of those around them."""
    with contextlib.suppress(OSError):  # not Linux
        for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                mount, name = root / "sys/fs/cgroup", "memory.max"
            elif "memory" in controllers.split(","):
                mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
            else:
                continue
            place = mount / group.lstrip("/")
            for folder in (place, *place.parents):  # a container sees its own group as the mount
                with contextlib.suppress(OSError, ValueError):  # no such file; "max"
                    yield int((folder / name).read_text(encoding="utf-8"))
