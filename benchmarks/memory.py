"""Memory of processes: now, and at most."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

KILOBYTE = 1024


def own_peak() -> int | None:
    """The most memory that this process has held, in bytes; None where it can't be told."""
    peak = _status("self", "VmHWM")
    if peak is not None:
        return peak
    try:
        import resource
    except ImportError:
        return None
    return peak_of_usage(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def peak_of_usage(maximum: int) -> int:
    """`ru_maxrss` in bytes: macOS counts bytes, the others kilobytes."""
    return maximum if sys.platform == "darwin" else maximum * KILOBYTE


def resident(pid: int) -> int | None:
    """The memory that a running process holds now, in bytes; None where it can't be told."""
    if Path("/proc/self/status").exists():
        return _status(str(pid), "VmRSS")
    try:
        shown = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:
        return None
    return int(shown) * KILOBYTE if shown.isdecimal() else None


def _status(pid: str, key: str) -> int | None:
    """A field of Linux's `/proc/PID/status`; a process that has ended has none."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields: Mapping[str, str] = dict(
        line.split(":", 1) for line in lines.splitlines() if ":" in line
    )
    return int(fields[key].split()[0]) * KILOBYTE if key in fields else None
