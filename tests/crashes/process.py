"""One process that trains: forked, so that Torch is imported once; struck, or left to its end."""

import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from charlm.data.system import console
from charlm.data.text import ids
from tests.crashes.fault import Fault, Operations

CRASHED = 99  # the exit code of an error that nobody turned into a line
SAVE_EVERY = 5  # steps


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code, or minus the signal that killed it.
        seconds: how long it ran.
        operations: file operations that it counted; 0 where it was killed.
        errors: what it said on stderr.
    """

    code: int
    seconds: float
    operations: int
    errors: str

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL

    @property
    def complaints(self) -> list[str]:
        """The lines in which the command complains."""
        return [line for line in self.errors.splitlines() if line.startswith("charlm-train: ")]


def run(arguments: list[str], scratch: Path, fault: Fault | None, *, mapped: bool = False) -> Ended:
    """Run `charlm-train` in a process of its own, with a save every few steps.

    Args:
        arguments: of the command.
        scratch: folder for what the process says.
        fault: what strikes it; None to let it end.
        mapped: keep the text's ids in a file, as those of a large corpus are.
    """
    log, counted = scratch / "stderr", scratch / "operations"
    counted.unlink(missing_ok=True)
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        _train(arguments, log, counted, fault, mapped)
    if fault is not None and fault.kind == "kill":
        time.sleep(fault.seconds)
        os.kill(child, signal.SIGKILL)  # a child that has ended waits for us, so the number is its
    _, status = os.waitpid(child, 0)
    return Ended(
        code=os.waitstatus_to_exitcode(status),
        seconds=time.perf_counter() - began,
        operations=int(counted.read_text()) if counted.exists() else 0,
        errors=log.read_text(encoding="utf-8", errors="replace") if log.exists() else "",
    )


def _train(
    arguments: list[str], log: Path, counted: Path, fault: Fault | None, mapped: bool
) -> None:
    """What the child does; it never returns."""
    code = CRASHED
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 2)
        os.dup2(descriptor, 1)
        from charlm.train import cli
        from charlm.train.loop import training as loop

        loop.SAVE_SECONDS, loop.CHECK_EVERY = 0.0, SAVE_EVERY
        if mapped:
            ids.IN_MEMORY = 0
        operations = Operations(fault)
        operations.install()
        code = console.exit_code(cli.app, "charlm-train", arguments)
        if fault is None:
            counted.write_text(str(operations.count))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
