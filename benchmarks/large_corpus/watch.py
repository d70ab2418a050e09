"""A training process, and its resident memory second by second, as Linux counts it."""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from charlm.data.errors import TrainingError

EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Sample:
    """One look.

    Attributes:
        seconds: since the process began.
        anonymous: bytes of its own (RssAnon).
        mapped: bytes of files that it has mapped (RssFile), which the system can take back.
        training: whether the text was read and training had begun.
    """

    seconds: float
    anonymous: int
    mapped: int
    training: bool


@dataclass(frozen=True)
class Watched:
    """A process that has ended well.

    Attributes:
        samples: in order.
        errors: what it said on stderr.
    """

    samples: list[Sample]
    errors: str


def watch(arguments: list[str], log: Path) -> Watched:
    """Run `charlm-train` and look at its memory until it ends.

    Raises:
        TrainingError: it ended with an error; says what it said last.
    """
    command = [sys.executable, "-m", "charlm.train.cli", *arguments]
    samples: list[Sample] = []
    began = time.perf_counter()
    with log.open("wb") as errors, subprocess.Popen(command, stderr=errors) as process:
        while process.poll() is None:
            if (found := _look(process.pid)) is not None:
                # The first line is said when all is read and counted.
                training = log.stat().st_size > 0
                samples.append(Sample(time.perf_counter() - began, *found, training))
            time.sleep(EVERY)
    said = log.read_text(encoding="utf-8")
    if process.returncode != 0:
        last = said.strip().rpartition("\n")[2]
        raise TrainingError(f"charlm-train ended with {process.returncode}: {last}")
    return Watched(samples, said)


def _look(pid: int) -> tuple[int, int] | None:
    """RssAnon and RssFile in bytes; None of a process that is just ending."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = dict(re.findall(r"^(RssAnon|RssFile):\s+(\d+) kB$", status, re.MULTILINE))
    return (int(found["RssAnon"]) << 10, int(found["RssFile"]) << 10) if len(found) == 2 else None
