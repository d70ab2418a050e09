"""The name of the CPU, and what other programs say of the machine."""

import platform
import re
import subprocess
from pathlib import Path


def processor() -> str:
    """The name of the CPU."""
    try:
        listed = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        listed = ""
    if found := re.search(r"^model name\s*:\s*(.+)$", listed, re.MULTILINE):
        return " ".join(found[1].split())
    if platform.system() == "Darwin" and (
        name := output("sysctl", "-n", "machdep.cpu.brand_string")
    ):
        return name
    return platform.processor() or platform.machine()


def output(*command: str) -> str:
    """What a command prints; empty where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
