"""`charlm serve` as a process, and what it uses."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from charlm.data.system.errors import SettingsError
from charlm.data.system.package import command_of

READY = re.compile(r" at http://.*:(\d+)\s")
START_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        port: where it listens, on this machine.
        pid: of its process.
    """

    port: int
    pid: int

    def cpu_seconds(self) -> float | None:
        """What it has used so far, on all cores; None where the system does not say."""
        with contextlib.suppress(OSError, AttributeError):
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return None


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[Server]:
    """Run a server at a free port.

    Raises:
        SettingsError: it does not start.
    """
    serve = command_of("charlm.infer.cli.serve", *arguments, "--port", "0")
    without_key = {name: each for name, each in os.environ.items() if name != "CHARLM_API_KEY"}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(serve, stderr=log, env=without_key)
        try:
            end = time.monotonic() + START_SECONDS
            while not (found := READY.search(said := _read(log))):
                if process.poll() is not None or time.monotonic() > end:
                    raise SettingsError(f"charlm-serve does not start: {said[-500:]}")
                time.sleep(0.05)
            yield Server(int(found[1]), process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _read(log: IO[str]) -> str:
    log.seek(0)
    return log.read()
